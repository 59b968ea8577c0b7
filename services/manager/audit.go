package manager

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

// newAuditEntry is the record of an operation as far as it is known before the
// operation runs. The store completes it with its id and time, operations on
// accounts that need no credentials with the user.
func newAuditEntry(op huma.Operation, rule rule, r *http.Request, c *caller) *cloud.AuditEntry {
	e := &cloud.AuditEntry{
		Via:     rule.via,
		Address: c.client.Address,
		Action:  op.OperationID,
		AppID:   c.app.ID,
		AppSlug: c.app.Slug,
		Target:  target(op.Path, r, c),
	}
	if c.principal != nil {
		e.UserID, e.UserName, e.Via = c.principal.UserID, c.principal.Name, "session"
		if c.principal.Key != nil {
			e.Via = "key " + c.principal.Key.Name
		}
	}
	return e
}

// target says what a request is about by what its path names, such as
// "scripts/hello" or "users/mia/keys/ID"; the app has fields of its own.
func target(path string, r *http.Request, c *caller) string {
	var named []string
	segments := strings.Split(path, "/")
	for i, s := range segments {
		name, ok := strings.CutPrefix(s, "{")
		name = strings.TrimSuffix(name, "}")
		if !ok || name == "app" {
			continue
		}
		value := r.PathValue(name)
		if name == "user" && c.user.Name != "" {
			value = c.user.Name
		}
		named = append(named, segments[i-1]+"/"+value)
	}
	return strings.Join(named, "/")
}

// about puts into the audit log what only the body of a request names.
func about(ctx context.Context, kind string, names ...string) {
	const most = 5
	parts := make([]string, 0, most+1)
	for _, name := range names[:min(len(names), most)] {
		parts = append(parts, kind+"/"+name)
	}
	if more := len(names) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	if e := cloud.AuditFrom(ctx); e != nil {
		e.Target = strings.Join(parts, ", ")
	}
}

// rename puts a name into the audit log for what a path names by its id.
func rename(ctx context.Context, id, name string) {
	if e := cloud.AuditFrom(ctx); e != nil {
		e.Target = strings.TrimSuffix(e.Target, id) + name
	}
}

// AuditQuery selects entries of the audit log, newest first.
type AuditQuery struct {
	User   string // name or id; "" for all
	App    string // slug, former slug or id; "" for all
	Action string // id of an operation; "" for all
	Before string // id of an entry; "" from the newest
	Limit  int    // 1 to 1000
}

// Audit returns the entries that q selects, of apps that p may know of when q
// names one. Users and apps that are gone are found by their ids. CodeNotFound
// about an unknown name, CodeInvalid about "before" or "action".
func (m *Manager) Audit(ctx context.Context, p *cloud.Principal, q AuditQuery) ([]cloud.AuditEntry, error) {
	if q.Before != "" && !cloud.IsID(q.Before) {
		return nil, cloud.Invalid("before", "%q is no id of an entry", q.Before)
	}
	if strings.Trim(q.Action, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return nil, cloud.Invalid("action", "%q is no operation; one is called delete-app, for example", q.Action)
	}
	filter := cloud.AuditFilter{UserID: q.User, AppID: q.App, Action: q.Action, Before: q.Before, Limit: q.Limit}
	if q.User != "" && !cloud.IsID(q.User) {
		user, err := m.userFor(ctx, q.User)
		if err != nil {
			return nil, err
		}
		filter.UserID = user.ID
	}
	if q.App != "" && !cloud.IsID(q.App) {
		app, err := m.appFor(ctx, p, q.App)
		if err != nil {
			return nil, err
		}
		filter.AppID = app.ID
	}
	return m.store.Audit(ctx, filter)
}
