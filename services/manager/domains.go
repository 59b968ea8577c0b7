package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// Domains returns the app's claims by host.
func (m *Manager) Domains(ctx context.Context, appID string) ([]cloud.Domain, error) {
	return m.store.Domains(ctx, appID)
}

// AddDomain claims a host, or a wildcard of hosts, for an app. CodeInvalid
// about "host"; CodeConflict about "host" if any app has it, or if hosts of it are
// another app's and p may not manage the domains there; CodeLimit.
func (m *Manager) AddDomain(ctx context.Context, appID, host string, p *cloud.Principal) (cloud.Domain, error) {
	var d cloud.Domain
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		app, err := tx.App(ctx)
		if err != nil {
			return err
		}
		if app.Slug == cloud.DefaultApp {
			return cloud.Invalid("host", "the app %q answers on the instance's own hosts and takes no domains; create an app for %s", cloud.DefaultApp, host)
		}
		host, err = m.checkDomain(host)
		if err != nil {
			return err
		}
		claimed, err := tx.Domains(ctx)
		if err != nil {
			return err
		}
		if len(claimed) >= m.quotas.Domains {
			return cloud.Errorf(cloud.CodeLimit, "the app has %d domains, the most it may have", len(claimed))
		}
		if err := m.checkOthers(ctx, tx, host, p); err != nil {
			return err
		}
		d, err = tx.AddDomain(ctx, host)
		if cloud.CodeOf(err) == cloud.CodeConflict {
			named := cloud.Errorf(cloud.CodeConflict, "an app has claimed %s already", host)
			named.Field = "host"
			return named.Because(err)
		}
		return err
	})
	return d, err
}

// DeleteDomain gives a claim up. CodeNotFound; CodeConflict if a route of the
// app has a host that only this claim covers.
func (m *Manager) DeleteDomain(ctx context.Context, appID, host string) error {
	return m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		app, err := tx.App(ctx)
		if err != nil {
			return err
		}
		pattern, err := cloud.ParseHostPattern(host)
		if err != nil || host == "" {
			return cloud.Errorf(cloud.CodeNotFound, "the app has no domain %q", host)
		}
		if err := tx.DeleteDomain(ctx, hostText(pattern)); err != nil {
			return err
		}
		return m.checkHostsKept(ctx, tx, app, hostsOfSlug(app.Slug))
	})
}

// checkDomain returns the claim in its normal form.
func (m *Manager) checkDomain(host string) (string, error) {
	p, err := cloud.ParseHostPattern(host)
	if err != nil {
		return "", err
	}
	switch {
	case p.Kind == cloud.HostAny:
		return "", cloud.Invalid("host", "is empty; write a name such as shop.example.com or *.example.com")
	case p.Name == "localhost" || strings.HasSuffix(p.Name, ".localhost"):
		return "", cloud.Invalid("host", "%q is this machine itself; every app answers on SLUG.localhost already", host)
	case p.Name == "local" || strings.HasSuffix(p.Name, ".local"):
		return "", cloud.Invalid("host", "%q belongs to multicast DNS; every app answers on SLUG.local already", host)
	case m.instance(p.Name):
		return "", cloud.Invalid("host", "%q is the instance's own host", host)
	}
	return hostText(p), nil
}

// checkOthers refuses with CodeConflict a claim that takes hosts out of another
// app's, or that would have what another app claims later taken out of it, unless p
// may manage the domains of both. It says no more of other apps than that.
func (m *Manager) checkOthers(ctx context.Context, tx AppTx, host string, p *cloud.Principal) error {
	claim, err := cloud.ParseHostPattern(host)
	if err != nil {
		return err
	}
	others, err := tx.DomainsOfOthers(ctx)
	if err != nil {
		return err
	}
	for _, d := range others {
		other, err := cloud.ParseHostPattern(d.Host)
		if err != nil || other == claim { // the store refuses an equal one
			continue
		}
		taken := d.Host // what of it is the other app's
		switch {
		case other.Kind == cloud.HostWildcard && other.Matches(claim.Name):
		case claim.Kind == cloud.HostWildcard && claim.Matches(other.Name):
			taken = "a part of " + host
		default:
			continue
		}
		if m.authz.Authorize(p, cloud.AppManageDomains, d.AppID) == nil || m.authz.Authorize(p, cloud.InstanceAdmin, "") == nil {
			continue
		}
		conflict := cloud.Errorf(cloud.CodeConflict, "another app claims %s; who manages the domains of both, or an admin of the instance, may claim %s", taken, host)
		conflict.Field = "host"
		return conflict
	}
	return nil
}

// checkHostsKept refuses with CodeConflict to leave routes behind whose host is
// no longer the app's.
func (m *Manager) checkHostsKept(ctx context.Context, tx AppTx, app cloud.App, own []string) error {
	routes, err := tx.Routes(ctx)
	if err != nil {
		return err
	}
	domains, err := tx.Domains(ctx)
	if err != nil {
		return err
	}
	for _, r := range routes {
		p, err := cloud.ParseHostPattern(r.Host)
		if err == nil && p.Kind != cloud.HostAny && !covers(own, domains, p) {
			return cloud.Errorf(cloud.CodeConflict, "the route %s %s%s of %s answers on a host that would no longer be the app's; delete the route first", r.Method, r.Host, r.Path, app.Slug)
		}
	}
	return nil
}

// covers tells whether every host of p is one of own or of the claims.
func covers(own []string, claims []cloud.Domain, p cloud.HostPattern) bool {
	if p.Kind == cloud.HostStrict && slices.Contains(own, p.Name) {
		return true
	}
	return slices.ContainsFunc(claims, func(d cloud.Domain) bool {
		claim, err := cloud.ParseHostPattern(d.Host)
		if err != nil {
			return false
		}
		if p.Kind == cloud.HostStrict {
			return claim.Matches(p.Name)
		}
		return claim.Kind == cloud.HostWildcard && (claim.Name == p.Name || claim.Matches(p.Name))
	})
}

// hostsOfSlug are the hosts that an app has without claiming any.
func hostsOfSlug(slug string) []string { return []string{slug + ".local", slug + ".localhost"} }

// hostText is the normal form of a host pattern.
func hostText(p cloud.HostPattern) string {
	if p.Kind == cloud.HostWildcard {
		return "*." + p.Name
	}
	return p.Name
}
