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
		`it's "so"`:     "[QUOTED]",
		`it's \"so\"`:   "[QUOTED]",
		`'it\'s "so"'`:  "'[QUOTED]'",
		"`it's \"so\"`": "`[QUOTED]`",
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
