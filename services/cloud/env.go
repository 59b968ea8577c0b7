package cloud

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
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

// NewEnv makes the env of variables and secrets, by their names.
func NewEnv(variables, secrets map[string]string) *Env {
	all := map[string]string{}
	maps.Copy(all, variables)
	maps.Copy(all, secrets)
	payload, _ := json.Marshal(all) // strings always encode
	// Of two secrets that begin alike, the longer one must be found first.
	names := slices.SortedFunc(maps.Keys(secrets), func(a, b string) int {
		return cmp.Or(len(secrets[b])-len(secrets[a]), strings.Compare(a, b))
	})
	var pairs []string
	for _, name := range names {
		if value := secrets[name]; len(value) >= minMasked {
			pairs = append(pairs, value, "["+name+"]")
		}
	}
	e := &Env{payload: payload}
	if pairs != nil {
		e.mask = strings.NewReplacer(pairs...)
	}
	return e
}

// Payload is the env as a JSON object of strings.
func (e *Env) Payload() []byte {
	if e == nil {
		return []byte("{}")
	}
	return e.payload
}

// Mask puts the name of a secret, in brackets, in the place of its value
// wherever text has it.
func (e *Env) Mask(text string) string {
	if e == nil || e.mask == nil {
		return text
	}
	return e.mask.Replace(text)
}
