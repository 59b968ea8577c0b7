package caddycloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/services/accounts"
	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/secrets"
)

// Operator is what somebody may do who has the machine: beside the server, with
// the database alone, so that nobody who is locked out stays so. What it changes
// is in the audit log as done by a command.
type Operator struct {
	accounts *accounts.Service
	pool     *pgxpool.Pool
}

// OpenOperator connects to a database that has the schema of this program. Close
// it.
func OpenOperator(ctx context.Context, database string, logger *slog.Logger) (*Operator, error) {
	pool, err := postgres.NewPool(ctx, database)
	if err != nil {
		return nil, err
	}
	o := &Operator{pool: pool}
	o.accounts, err = accounts.New(accounts.Config{Store: postgres.NewAccounts(pool, nil), Logger: logger})
	if err == nil {
		err = checkSchema(ctx, pool)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return o, nil
}

func checkSchema(ctx context.Context, pool *pgxpool.Pool) error {
	schema, err := postgres.ReadSchema(ctx, pool)
	if err != nil {
		return err
	}
	return schema.Check()
}

// Close ends the connections.
func (o *Operator) Close() { o.pool.Close() }

// Users returns all users by name.
func (o *Operator) Users(ctx context.Context) ([]cloud.User, error) { return o.accounts.Users(ctx) }

// ResetPassword gives a user, by name or id, a one-time password, ends their
// sessions and takes their second factor away. CodeNotFound.
func (o *Operator) ResetPassword(ctx context.Context, ref string) (cloud.User, cloud.Handover, error) {
	user, err := o.accounts.User(ctx, ref)
	if err != nil {
		return cloud.User{}, cloud.Handover{}, err
	}
	handover, err := o.accounts.ResetAccess(byCommand(ctx, "reset-user", "users/"+user.Name), accounts.Operator, user.ID, false)
	return user, handover, err
}

// CreateOwner makes another owner, or the first, with a one-time password.
// CodeConflict if the name is taken, CodeInvalid.
func (o *Operator) CreateOwner(ctx context.Context, name string) (cloud.User, cloud.Handover, error) {
	return o.accounts.CreateUser(byCommand(ctx, "create-user", "users/"+name), accounts.Operator, cloud.UserDraft{Name: name, Role: cloud.Owner})
}

// RotateKey replaces the instance's master key, see secrets.Rotate.
func (o *Operator) RotateKey(ctx context.Context, key SecretKey, progress func(done int)) error {
	switch {
	case key.credential:
		return fmt.Errorf("%s is a copy that systemd made: name the file that it comes from with --secret-key-file", key.File)
	case key.File != "":
		if err := secrets.Rotate(ctx, key.File, postgres.NewEnv(o.pool, nil), progress); err != nil {
			return err
		}
		return postgres.NewInstance(o.pool).Record(ctx, command("rotate-key", ""), time.Now())
	case key.Text != "":
		return errors.New("the master key is in PICLOUD_SECRET_KEY, which no command can change: write it to a file of mode 0600, and name that with PICLOUD_SECRET_KEY_FILE or --secret-key-file instead")
	default:
		return errors.New("this instance has no master key: name its file with --secret-key-file")
	}
}

// byCommand is ctx for a change that is recorded as made on the machine itself.
func byCommand(ctx context.Context, action, target string) context.Context {
	entry := command(action, target)
	return cloud.WithAudit(ctx, &entry)
}

func command(action, target string) cloud.AuditEntry {
	return cloud.AuditEntry{UserName: accounts.Operator.Name, Via: "command", Action: action, Target: target}
}
