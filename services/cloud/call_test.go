package cloud

import "testing"

// viewers is an Authorizer that lets those with a role read, and denies that
// there is an app for the rest.
type viewers struct{}

func (viewers) Authorize(p *Principal, c Capability, appID string) error {
	switch {
	case p.RoleIn(appID) == "":
		return Errorf(CodeNotFound, "no such app")
	case c == AppKvRead:
		return nil
	default:
		return Errorf(CodeForbidden, "may not")
	}
}

func TestCall_Gate(t *testing.T) {
	viewer := &Principal{Role: Member, Apps: map[string]AppRole{"a": Viewer}}
	for name, tt := range map[string]struct {
		call Call
		want Code
	}{
		"a script for nobody":                  {Call{AppID: "a", ByScript: true}, ""},
		"nobody without a script":              {Call{AppID: "a"}, CodeForbidden},
		"a script for one who may":             {Call{AppID: "a", ByScript: true, Principal: viewer}, ""},
		"one who may, without a script":        {Call{AppID: "a", Principal: viewer}, ""},
		"a script for one who may not know it": {Call{AppID: "b", ByScript: true, Principal: viewer}, CodeForbidden},
		"a call of no app":                     {Call{ByScript: true}, CodeInternal},
	} {
		if err := tt.call.Gate(viewers{}, AppKvRead); CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := (Call{AppID: "a", ByScript: true, Principal: viewer}).Gate(viewers{}, AppKvWrite); CodeOf(err) != CodeForbidden {
		t.Errorf("a script does for its caller what they may not: %v", err)
	}
}
