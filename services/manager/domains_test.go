package manager_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// Who manages the domains of one app takes no host out of another's, neither
// before nor after the other claims it.
func TestAPI_domainsOfTwoApps(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	bank := s.must("POST", "/apps", `{"slug":"bank"}`)["id"].(string)
	evil := s.must("POST", "/apps", `{"slug":"evil"}`)["id"].(string)
	s.must("POST", "/apps/bank/domains", `{"host":"*.example.com"}`)
	s.must("POST", "/apps/bank/domains", `{"host":"pay.example.org"}`)
	s.must("POST", "/apps/bank/domains", `{"host":"*.a.example.net"}`)
	admin := func(token string, p cloud.Principal) {
		p.UserID, p.Name = cloud.NewID(), token
		s.let(token, p)
	}
	admin("mallory", cloud.Principal{Role: cloud.Member, Apps: map[string]cloud.AppRole{evil: cloud.AppAdminRole}})
	admin("editor", cloud.Principal{Role: cloud.Member, Apps: map[string]cloud.AppRole{evil: cloud.AppAdminRole, bank: cloud.Editor}})
	admin("bound", cloud.Principal{Role: cloud.Owner, Key: &cloud.Key{Scopes: cloud.Scopes, AppID: evil}})
	admin("scoped", cloud.Principal{Role: cloud.Admin, Apps: map[string]cloud.AppRole{evil: cloud.AppAdminRole}, Key: &cloud.Key{Scopes: []cloud.Scope{cloud.ScopeDomainManage}}})
	admin("both", cloud.Principal{Role: cloud.Member, Apps: map[string]cloud.AppRole{evil: cloud.AppAdminRole, bank: cloud.AppAdminRole}})
	admin("instance", cloud.Principal{Role: cloud.Admin, Apps: map[string]cloud.AppRole{evil: cloud.AppAdminRole}})
	claims := map[string]string{ // by what is said to be another app's
		"www.example.com":   "*.example.com",
		"a.b.example.com":   "*.example.com",
		"*.www.example.com": "*.example.com",
		"*.example.org":     "a part of *.example.org",
		"*.org":             "a part of *.org",
		"*.example.net":     "a part of *.example.net",
	}
	for _, token := range []string{"mallory", "editor", "bound", "scoped"} {
		for host, taken := range claims {
			a := s.as(token, "POST", "/api/v1/apps/evil/domains", map[string]string{"host": host})
			a.what = token + " " + host
			a.fails(409, cloud.CodeConflict, "host", "another app claims "+taken+"; who manages the domains of both, or an admin of the instance, may claim "+host)
		}
	}
	for _, token := range []string{"both", "instance"} {
		for host := range claims {
			if a := s.as(token, "POST", "/api/v1/apps/evil/domains", map[string]string{"host": host}); a.status != 201 {
				t.Errorf("%s %s: %d %s", token, host, a.status, a.body)
			}
			s.must("DELETE", "/apps/evil/domains/"+host, nil)
		}
	}
	for _, host := range []string{"example.com", "wwwexample.com", "a.example.net", "*.pay.example.org", "*.example.com.org", "*.b.example.net"} {
		if a := s.as("mallory", "POST", "/api/v1/apps/evil/domains", map[string]string{"host": host}); a.status != 201 {
			t.Errorf("%s, which is nobody's: %d %s", host, a.status, a.body)
		}
	}
	s.must("POST", "/apps/bank/domains", `{"host":"www.example.com"}`) // an app's own
	s.as("mallory", "POST", "/api/v1/apps/evil/domains", `{"host":"*.example.com"}`).fails(409, cloud.CodeConflict, "host", "another app claims a part of *.example.com…")
	s.as("mallory", "POST", "/api/v1/apps/evil/domains", `{"host":"pay.example.org"}`).fails(409, cloud.CodeConflict, "host", "an app has claimed pay.example.org already")
}
