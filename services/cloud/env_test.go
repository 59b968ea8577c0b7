package cloud

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestEnv_Payload(t *testing.T) {
	t.Parallel()
	if got := (*Env)(nil).Payload(); string(got) != "{}" {
		t.Errorf("no env is %s", got)
	}
	if got := NewEnv(nil, nil).Payload(); string(got) != "{}" {
		t.Errorf("an empty env is %s", got)
	}
	var got map[string]string
	err := json.Unmarshal(NewEnv(map[string]string{"V": "<ü>\n"}, map[string]string{"S": "\"'\u2028"}).Payload(), &got)
	if want := map[string]string{"V": "<ü>\n", "S": "\"'\u2028"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEnv_Mask(t *testing.T) {
	t.Parallel()
	env := NewEnv(map[string]string{"V": "variable"}, map[string]string{
		"TOKEN": "sk_live_1", "LONGER": "sk_live_12345", "SHORT": "abc", "EMPTY": "", "TWIN": "sk_live_1",
		"URL": "a b/c+(d)~*é&",
		"PEM": "-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n", "QUOTED": `it's "so"`,
	})
	for text, want := range map[string]string{
		"":                       "",
		"nothing variable abc":   "nothing variable abc",
		"a=sk_live_1;":           "a=[TOKEN];",
		"sk_live_12345sk_live_1": "[LONGER][TOKEN]",
		"SK_LIVE_1 sk_live_":     "SK_LIVE_1 sk_live_",
		"-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n":   "[PEM]",
		`'-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n'`: "'[PEM]'",
		"  -----BEGIN KEY-----\n  MIIEvQIBADAN\n":                  "  [PEM]\n  [PEM]\n",
		"?k=a%20b%2Fc%2B(d)~*%C3%A9%26&x":                          "?k=[URL]&x", // encodeURIComponent
		"?k=a+b%2Fc%2B%28d%29%7E*%C3%A9%26":                        "?k=[URL]",   // URLSearchParams
		"/a%20b%2Fc+%28d%29~%2A%C3%A9&/":                           "/[URL]/",    // a path of Go's
		`it's "so"`:                                                "[QUOTED]",
		`it's \"so\"`:                                              "[QUOTED]",
		`'it\'s "so"'`:                                             "'[QUOTED]'",
		"`it's \"so\"`":                                            "`[QUOTED]`",
	} {
		if got := env.Mask(text); got != want {
			t.Errorf("%q is masked as %q, want %q", text, got, want)
		}
	}
	for _, none := range []*Env{nil, NewEnv(map[string]string{"V": "variable"}, map[string]string{"S": "abc"})} {
		if got := none.Mask("variable abc"); got != "variable abc" {
			t.Errorf("masked %q", got)
		}
	}
}

func TestEnv_Hiding(t *testing.T) {
	t.Parallel()
	env := NewEnv(map[string]string{"V": "variable"}, map[string]string{"TOKEN": "sk_live_1"})
	next := env.Hiding("LONGER", "sk_live_12345")
	const text = "sk_live_1 sk_live_12345 variable"
	if got := env.Mask(text); got != "[TOKEN] [TOKEN]2345 variable" {
		t.Errorf("the env that it came from: %s", got)
	}
	if got := next.Mask(text); got != "[TOKEN] [LONGER] variable" || string(next.Payload()) != string(env.Payload()) {
		t.Errorf("got %s, %s", got, next.Payload())
	}
	if same := next.Hiding("AGAIN", "sk_live_1"); same != next {
		t.Error("what is hidden already makes another env")
	}
	if got := (*Env)(nil).Hiding("TOKEN", "sk_live_1"); got.Mask(text) != "[TOKEN] [TOKEN]2345 variable" || string(got.Payload()) != "{}" {
		t.Errorf("of no env: %s, %s", got.Mask(text), got.Payload())
	}
	if got := (*Env)(nil).Hiding("SHORT", "abc"); got != nil {
		t.Errorf("what is too short to be hidden: %v", got)
	}
}

// What Mask returns holds no secret, whatever is around it.
func FuzzEnv_Mask(f *testing.F) {
	f.Add("secret", "a ", " b")
	f.Add("line one\nline two", "\n", "\\n")
	f.Add("\"'`\\", "'", "\"")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		// The name must not look like a part of the secret.
		if len(secret) < minMasked || strings.ContainsAny(secret, "[]\x01") {
			return
		}
		env := NewEnv(nil, map[string]string{"\x01": secret})
		if got := env.Mask(before + secret + after); strings.Contains(got, secret) {
			t.Errorf("%q is in %q", secret, got)
		}
	})
}
