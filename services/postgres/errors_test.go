package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud/services/cloud"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	state := func(code, constraint string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, ConstraintName: constraint, Message: "the server's words"})
	}
	for _, c := range []struct {
		err   error
		code  cloud.Code
		field string
	}{
		{state("23505", "apps_slug_key"), cloud.CodeConflict, "slug"},
		{state("23505", "domains_host_key"), cloud.CodeConflict, "host"},
		{state("23505", "scripts_name_key"), cloud.CodeConflict, "name"},
		{state("23505", "routes_shape_key"), cloud.CodeRouteConflict, "path"},
		{state("23505", "users_name_key"), cloud.CodeConflict, "name"},
		{state("23505", "api_keys_hash_key"), cloud.CodeInternal, ""},
		{state("23503", "kv_entries_app_id_fkey"), cloud.CodeNotFound, ""},
		{state("23503", "api_keys_app_id_fkey"), cloud.CodeNotFound, "app"},
		{state("23503", "api_keys_parent_id_fkey"), cloud.CodeUnauthorized, ""},
		{state("23503", "sessions_user_id_fkey"), cloud.CodeNotFound, ""},
		{state("23503", "routes_script_id_fkey"), cloud.CodeNotFound, ""},
		{state("22P05", ""), cloud.CodeInvalid, ""},
		{state("22021", ""), cloud.CodeInvalid, ""},
		{state("54001", ""), cloud.CodeInvalid, ""},
		{state("53100", ""), cloud.CodeUnavailable, ""},
		{state("53300", ""), cloud.CodeUnavailable, ""},
		{state("57P01", ""), cloud.CodeUnavailable, ""},
		{state("57P02", ""), cloud.CodeUnavailable, ""},
		{state("57P03", ""), cloud.CodeUnavailable, ""},
		{state("08006", ""), cloud.CodeUnavailable, ""},
		{state("40P01", ""), cloud.CodeUnavailable, ""},
		{state("28P01", ""), cloud.CodeUnavailable, ""},
		{state("42P01", ""), cloud.CodeUnavailable, ""},
		{state("25006", ""), cloud.CodeUnavailable, ""},
		{state("42601", ""), cloud.CodeInternal, ""},
		{io.ErrUnexpectedEOF, cloud.CodeUnavailable, ""},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, cloud.CodeUnavailable, ""},
		{fmt.Errorf("acquire: %w", context.DeadlineExceeded), cloud.CodeUnavailable, ""},
		{errors.New("conn closed"), cloud.CodeUnavailable, ""},
		{pgx.ErrNoRows, cloud.CodeNotFound, ""},
		{errors.New("something else"), cloud.CodeInternal, ""},
		{cloud.Invalid("name", "mine"), cloud.CodeInvalid, "name"},
	} {
		got := translate(c.err)
		var e *cloud.Error
		if !errors.As(got, &e) || e.Code != c.code || e.Field != c.field {
			t.Errorf("translate(%v) = %v, want code %q about %q", c.err, got, c.code, c.field)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("translate(%v) hides its cause from logs", c.err)
		}
	}
	if err := translate(fmt.Errorf("x: %w", context.Canceled)); !errors.Is(err, context.Canceled) || cloud.CodeOf(err) != cloud.CodeInternal {
		t.Errorf("the end of a caller became %v", err)
	}
	if translate(nil) != nil {
		t.Error("nil became an error")
	}
	if e := translateState(&pgconn.PgError{Code: "53100"}); e.Message != errFull.Message {
		t.Errorf("a full disk is called %q", e.Message)
	}
}
