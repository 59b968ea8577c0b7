//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// testTrigger changes data and sees what reacts to it.
func (s *testServer) testTrigger(t *testing.T) {
	env := s.env(s.newApp(t))
	file := filepath.Join(t.TempDir(), "photos.ts")
	writeFile(t, file, `export default { trigger(event) { console.log(event.op, event.collection, event.key, event.value?.size); } };`)
	c := testCLI(t, env)
	do := func(line string) string {
		t.Helper()
		code, out, errs := pic(t, c, "", strings.Fields(line)...)
		if code != exitOK {
			t.Fatalf("pic %s: %s", line, errs)
		}
		return out
	}
	do("deploy " + file)
	added := do("triggers add --script photos --kind kv --collection photos --key p*")
	do("triggers fire " + strings.Fields(added)[1] + " --wait")
	logs := start(t, env, "logs", "-f", "photos")
	logs.until(t, "info   test test test") // what ran before is shown once nothing later is missed
	do("kv set photos other 1")
	do("kv set albums p1 1")
	do(`kv set photos p1 {"size":3}`)
	seen := logs.until(t, "info   set photos p1 3")
	do("kv rm photos p1")
	seen += logs.until(t, "info   delete photos p1 undefined")
	if strings.Contains(seen, "other") || strings.Contains(seen, "albums") {
		t.Errorf("the trigger got more than it asked for:\n%s", seen)
	}
}
