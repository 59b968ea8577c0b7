package manager

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
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

// Bounds of a target, and of a name or value in it, in bytes: no long name leaves
// the rest no room.
const (
	maxTarget = 500
	maxQuoted = 200
)

// about puts into the audit log what only the body of a request names: things, as
// many of them as there is room for.
func about(ctx context.Context, things ...string) {
	const more = len(", 999 more")
	target := ""
	for i, thing := range things {
		if i > 0 && len(target)+len(", ")+len(thing)+more > maxTarget {
			target += fmt.Sprintf(", %d more", len(things)-i)
			break
		}
		if i > 0 {
			target += ", "
		}
		target += thing
	}
	aim(ctx, target)
}

// note adds facts to what the audit log has as the target. They are never secret.
func note(ctx context.Context, facts ...string) {
	if e := cloud.AuditFrom(ctx); e != nil {
		aim(ctx, strings.TrimPrefix(e.Target+strings.Join(facts, ""), " "))
	}
}

// rename puts a name into the audit log for what a path names by its id.
func rename(ctx context.Context, id, name string) {
	if e := cloud.AuditFrom(ctx); e != nil {
		aim(ctx, strings.TrimSuffix(e.Target, id)+quoted(name, ","))
	}
}

// aim sets the target of the entry in ctx.
func aim(ctx context.Context, target string) {
	if e := cloud.AuditFrom(ctx); e != nil {
		e.Target = clipped(target, maxTarget)
	}
}

// clipped is text, or its beginning and … in at most so many bytes.
func clipped(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

// thing is how the audit log names something, such as "scripts/hello".
func thing(kind, name string) string { return kind + "/" + quoted(name, ",") }

// fact is what the audit log says of a change, such as " role=owner"; of a zero
// value nothing.
func fact[T comparable](key string, value T) string {
	if value == *new(T) {
		return ""
	}
	return setTo(key, &value)
}

// setTo is fact for a field that stays as it is if value is nil.
func setTo[T any](key string, value *T) string {
	if value == nil {
		return ""
	}
	return " " + key + "=" + quoted(fmt.Sprint(*value), " ")
}

// joined is a list as a fact has it.
func joined[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, text := range list {
		texts[i] = string(text)
	}
	return strings.Join(texts, ",")
}

// quoted is text, in quotes if it could be taken for more than one name or value:
// with one of the marks, = or a quote in it, or what does not print.
func quoted(text, marks string) string {
	odd := func(r rune) bool { return !strconv.IsPrint(r) }
	if text == "" || strings.ContainsAny(text, `="`+marks) || strings.ContainsFunc(text, odd) {
		return clipped(strings.TrimSuffix(strconv.Quote(text), `"`), maxQuoted-1) + `"`
	}
	return clipped(text, maxQuoted)
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
