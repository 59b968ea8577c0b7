package orchestrator

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// Hosts tells the instance's own hosts from those of apps. The zero value knows
// localhost and literal addresses alone.
type Hosts struct {
	Names []string // further instance hosts in normal form: the device's name, NAME.local, the public URL's host
}

// IsInstance tells whether host, in normal form, is one of the instance's own:
// localhost, a literal address, or one of Names.
func (h Hosts) IsInstance(host string) bool {
	if host == "localhost" {
		return true
	}
	if slices.Contains(h.Names, host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// appSlug is the slug in SLUG.localhost or SLUG.local, or "".
func appSlug(host string) string {
	slug, suffix, _ := strings.Cut(host, ".")
	if suffix == "localhost" || suffix == "local" {
		return slug
	}
	return ""
}

// hostTable finds the app that a host belongs to. It is immutable.
type hostTable struct {
	instance Hosts
	app      *app            // the default app; nil if there is none
	slugs    map[string]*app // apps with hosts of their own, by slug and former slug
	exact    map[string]*app
	wildcard map[string]*app // by the part behind "*."
}

func newHostTable(instance Hosts, apps []*app) *hostTable {
	t := &hostTable{instance: instance, slugs: map[string]*app{}, exact: map[string]*app{}, wildcard: map[string]*app{}}
	for _, a := range apps {
		if a.state.App.Slug == cloud.DefaultApp {
			t.app = a
			continue
		}
		for _, former := range a.state.FormerSlugs {
			if t.slugs[former] == nil {
				t.slugs[former] = a
			}
		}
		for _, d := range a.state.Domains {
			switch p, _ := cloud.ParseHostPattern(d.Host); p.Kind {
			case cloud.HostStrict:
				t.exact[p.Name] = a
			case cloud.HostWildcard:
				t.wildcard[p.Name] = a
			}
		}
	}
	for _, a := range apps {
		if a.state.App.Slug != cloud.DefaultApp {
			t.slugs[a.state.App.Slug] = a
		}
	}
	return t
}

// find returns the app of host (in normal form), or nil. An exact claim goes
// before a wildcard, and a longer wildcard before a shorter.
func (t *hostTable) find(host string) *app {
	if t.instance.IsInstance(host) {
		return t.app
	}
	if a := t.slugs[appSlug(host)]; a != nil {
		return a
	}
	if a := t.exact[host]; a != nil {
		return a
	}
	if len(t.wildcard) == 0 {
		return nil
	}
	for rest := host; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		if a := t.wildcard[after]; a != nil {
			return a
		}
		rest = after
	}
}
