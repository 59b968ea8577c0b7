package cloud

import (
	"context"
	"time"
)

// AuditEntry says who changed what, when and from where.
type AuditEntry struct {
	ID       string // a UUIDv7, so that ids are in the order of time
	At       time.Time
	UserID   string // "" for this machine's own commands
	UserName string
	Via      string // "session", "key NAME", "log-in", "claim", "invitation" or "command"
	Address  string // IP address, or ""
	Action   string // the id of the operation, such as "delete-app"
	AppID    string // "" if it is about no app
	AppSlug  string
	Target   string // what was changed, such as "scripts/hello"; never a secret
}

// AuditFilter selects entries, newest first.
type AuditFilter struct {
	UserID string
	AppID  string
	Action string
	Before string // id of an entry: only older ones
	Limit  int    // 1 to 1000
}

type auditKey struct{}

// WithAudit returns a context in which a change of the control plane is recorded
// as entry, in the transaction that makes it. What is not known yet may be filled
// in until the change is made.
func WithAudit(ctx context.Context, entry *AuditEntry) context.Context {
	return context.WithValue(ctx, auditKey{}, entry)
}

// AuditFrom is the entry in ctx, or nil.
func AuditFrom(ctx context.Context) *AuditEntry {
	e, _ := ctx.Value(auditKey{}).(*AuditEntry)
	return e
}
