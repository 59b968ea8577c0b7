package cloud

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
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
	named   map[string]string // what is masked → the secret's name
	mask    *strings.Replacer // nil: nothing is
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
	e := &Env{named: map[string]string{}}
	e.payload, _ = json.Marshal(all) // strings always encode
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		e.hide(name, secrets[name])
	}
	e.setMask()
	return e
}

// Hiding is e with another secret that Mask hides, and that is no part of the
// payload.
func (e *Env) Hiding(name, value string) *Env {
	next := &Env{payload: e.Payload(), named: map[string]string{}}
	if e != nil {
		maps.Copy(next.named, e.named)
	}
	if !next.hide(name, value) {
		return e
	}
	next.setMask()
	return next
}

// hide adds the forms of a secret to what is masked, and reports whether that
// makes a difference.
func (e *Env) hide(name, value string) (more bool) {
	for _, form := range forms(value) {
		if _, taken := e.named[form]; !taken && len(form) >= minMasked {
			e.named[form] = name
			more = true
		}
	}
	return more
}

func (e *Env) setMask() {
	if len(e.named) == 0 {
		return
	}
	// Of two that begin alike, the longer one must be found first.
	var pairs []string
	for _, form := range slices.SortedFunc(maps.Keys(e.named), func(a, b string) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a, b))
	}) {
		pairs = append(pairs, form, "["+e.named[form]+"]")
	}
	e.mask = strings.NewReplacer(pairs...)
}

// inURL turns what url.QueryEscape makes into what encodeURIComponent and
// URLSearchParams do.
var (
	inURL  = strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*")
	inForm = strings.NewReplacer("%2A", "*", "~", "%7E")
)

// forms are the ways in which a secret shows in text: as it is, as JSON and the
// console write it inside an object, percent-encoded, and line by line, since
// console.group indents lines.
func forms(value string) []string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(value) // strings always encode
	inJSON := strings.TrimSuffix(b.String(), "\n")
	quoted := strings.ReplaceAll(strconv.Quote(value), `\"`, `"`)
	query := url.QueryEscape(value)
	all := []string{
		value, query, url.PathEscape(value), inURL.Replace(query), inForm.Replace(query), inJSON[1 : len(inJSON)-1],
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
// wherever text has it, also quoted or percent-encoded. A value that was split, or
// encoded otherwise, is not found.
func (e *Env) Mask(text string) string {
	if e == nil || e.mask == nil {
		return text
	}
	return e.mask.Replace(text)
}
