package cloud

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// minMasked is the length in bytes below which a secret is not looked for in
// text: it would be found everywhere.
const minMasked = 4

// Env is what an app's scripts get as env. It is immutable; nil is an empty one.
type Env struct {
	payload []byte
	mask    *strings.Replacer
}

// EnvValue is one value of an app's env as it is stored.
type EnvValue struct {
	Name   string
	Value  string  // of a variable
	Secret *Sealed // nil of a variable; for SecretPurpose
}

// NewEnv makes the env of variables and secrets, by their names.
func NewEnv(variables, secrets map[string]string) *Env {
	all := map[string]string{}
	maps.Copy(all, variables)
	maps.Copy(all, secrets)
	payload, _ := json.Marshal(all) // strings always encode
	named := map[string]string{}    // what is masked → the secret's name
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		for _, form := range forms(secrets[name]) {
			if _, taken := named[form]; !taken && len(form) >= minMasked {
				named[form] = name
			}
		}
	}
	e := &Env{payload: payload}
	if len(named) > 0 {
		// Of two that begin alike, the longer one must be found first.
		var pairs []string
		for _, form := range slices.SortedFunc(maps.Keys(named), func(a, b string) int {
			return cmp.Or(len(b)-len(a), strings.Compare(a, b))
		}) {
			pairs = append(pairs, form, "["+named[form]+"]")
		}
		e.mask = strings.NewReplacer(pairs...)
	}
	return e
}

// forms are the ways in which a secret shows in text: as it is, as JSON and the
// console write it inside an object, and line by line, since console.group
// indents lines.
func forms(value string) []string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(value) // strings always encode
	inJSON := strings.TrimSuffix(b.String(), "\n")
	quoted := strings.ReplaceAll(strconv.Quote(value), `\"`, `"`)
	all := []string{
		value, inJSON[1 : len(inJSON)-1],
		quoted[1 : len(quoted)-1], strings.ReplaceAll(quoted[1:len(quoted)-1], "'", `\'`),
	}
	if strings.Contains(value, "\n") {
		for line := range strings.Lines(value) {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// Payload is the env as a JSON object of strings.
func (e *Env) Payload() []byte {
	if e == nil {
		return []byte("{}")
	}
	return e.payload
}

// Mask puts the name of a secret, in brackets, in the place of its value
// wherever text has it, also quoted. A value that was split or encoded is not
// found.
func (e *Env) Mask(text string) string {
	if e == nil || e.mask == nil {
		return text
	}
	return e.mask.Replace(text)
}
