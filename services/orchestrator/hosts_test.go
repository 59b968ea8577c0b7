package orchestrator

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestHosts(t *testing.T) {
	named := func(slug string, former []string, domains ...string) *app {
		s := cloud.AppState{App: cloud.App{ID: slug, Slug: slug}, FormerSlugs: former}
		for _, d := range domains {
			s.Domains = append(s.Domains, cloud.Domain{Host: d})
		}
		return &app{state: s, router: newRouter(nil)}
	}
	table := newHostTable(Hosts{Names: []string{"picloud.local", "home.example.com"}}, []*app{
		named(cloud.DefaultApp, nil),
		named("shop", []string{"store"}, "shop.example.com", "*.shops.example.com"),
		named("blog", []string{"shop", "news"}, "*.example.com", "*.b.shops.example.com"),
	})
	for host, want := range map[string]string{
		"localhost":             "default",
		"localhost:8080":        "default",
		"LOCALHOST.":            "default",
		"192.168.1.7:80":        "default",
		"[fe80::1]:80":          "default",
		"::1":                   "default",
		"picloud.local":         "default",
		"home.example.com":      "default",
		"shop.localhost:8080":   "shop",
		"shop.local":            "shop",
		"store.local":           "shop",
		"news.localhost":        "blog",
		"default.localhost":     "",
		"other.localhost":       "",
		"a.shop.localhost":      "",
		"shop.example.com":      "shop",
		"x.example.com":         "blog",
		"example.com":           "",
		"y.shops.example.com":   "shop",
		"a.y.shops.example.com": "shop",
		"z.b.shops.example.com": "blog",
		"evil.com":              "",
		"":                      "",
	} {
		got := ""
		if a := table.find(cloud.NormalHost(host)); a != nil {
			got = a.state.App.Slug
		}
		if got != want {
			t.Errorf("%q leads to %q, want %q", host, got, want)
		}
	}
}
