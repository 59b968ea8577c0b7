package main

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	c := testCLI(t, nil)
	want := credentials{Current: "http://pi.local", Servers: map[string]credential{"http://pi.local": {Token: "pic_x", User: "ada"}}}
	if err := c.saveCredentials(want); err != nil {
		t.Fatal(err)
	}
	if got, err := c.credentials(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("credentials() = %+v, %v, want %+v", got, err, want)
	}
	file, _ := c.credentialsFile()
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the credentials file = %v, %v, want 0600", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "credentials-*")); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}

	writeFile(t, file, `{"servers":`)
	if _, err := c.credentials(); err == nil || !strings.Contains(err.Error(), "remove it and log in again") {
		t.Errorf("credentials() of a damaged file = %v, want what to do", err)
	}
}
