package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud/services/cloud"
)

var (
	errAway     = cloud.Errorf(cloud.CodeUnavailable, "the database does not answer; try again in a moment")
	errFull     = cloud.Errorf(cloud.CodeUnavailable, "the database's disk is full, so nothing can be saved; free some space")
	errBusy     = cloud.Errorf(cloud.CodeUnavailable, "the database is busy; try again in a moment")
	errGone     = cloud.Errorf(cloud.CodeNotFound, "the app does not exist any more")
	errRefused  = cloud.Errorf(cloud.CodeUnavailable, "the database refuses PiCloud; check the user, password, name and rights in its connection string")
	errSchema   = cloud.Errorf(cloud.CodeUnavailable, "the database's schema is not the one this PiCloud needs; run `picloud migrate`")
	errNoKeyApp = &cloud.Error{Code: cloud.CodeNotFound, Field: "app", Message: "there is no such app"}
	errReadOnly = cloud.Errorf(cloud.CodeUnavailable, "the database takes no changes at the moment; try again when its primary is back")
)

// translate turns an error of the driver into a *cloud.Error, with the driver's
// behind it. Errors that are *cloud.Error already, and context.Canceled, stay.
// A missing row is CodeNotFound; callers who can say what is missing do so.
func translate(err error) error {
	var (
		known *cloud.Error
		pg    *pgconn.PgError
		netOp net.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &pg):
		return translateState(pg).Because(err)
	case errors.Is(err, pgx.ErrNoRows):
		return cloud.Errorf(cloud.CodeNotFound, "not found").Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return errBusy.Because(err)
	case isAway(err), errors.As(err, &netOp):
		return errAway.Because(err)
	default:
		return cloud.Errorf(cloud.CodeInternal, "the database failed").Because(err)
	}
}

// isAway tells whether err is the loss of a connection, or that none came about.
func isAway(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.Timeout(err) ||
		strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "closed pool")
}

// translateState is translate for what the server says, by its SQLSTATE
// (PostgreSQL documentation, appendix A) and the constraint's name.
func translateState(e *pgconn.PgError) *cloud.Error {
	switch e.Code {
	case "23505": // unique_violation
		switch e.ConstraintName {
		case "apps_slug_key":
			return &cloud.Error{Code: cloud.CodeConflict, Field: "slug", Message: "another app has this slug"}
		case "domains_host_key":
			return &cloud.Error{Code: cloud.CodeConflict, Field: "host", Message: "an app has claimed this host already"}
		case "scripts_name_key":
			return &cloud.Error{Code: cloud.CodeConflict, Field: "name", Message: "the app has a script of this name already"}
		case "users_name_key":
			return &cloud.Error{Code: cloud.CodeConflict, Field: "name", Message: "another user has this name"}
		case "routes_shape_key":
			return &cloud.Error{Code: cloud.CodeRouteConflict, Field: "path", Message: "the app has a route with this method, host and path already"}
		}
	case "23503": // foreign_key_violation
		switch {
		case e.ConstraintName == "api_keys_app_id_fkey":
			return errNoKeyApp
		case e.ConstraintName == "api_keys_parent_id_fkey":
			return cloud.Errorf(cloud.CodeUnauthorized, "the API key was revoked")
		case strings.HasSuffix(e.ConstraintName, "_app_id_fkey"):
			return errGone
		case strings.HasSuffix(e.ConstraintName, "_script_id_fkey"):
			return cloud.Errorf(cloud.CodeNotFound, "the app has no such script")
		case strings.HasSuffix(e.ConstraintName, "_user_id_fkey"):
			return cloud.Errorf(cloud.CodeNotFound, "the user does not exist any more")
		}
	case "22P05", "22021", "22P02": // untranslatable_character, character_not_in_repertoire, invalid_text_representation
		return cloud.Errorf(cloud.CodeInvalid, "the input holds text that the database cannot keep, such as the character U+0000")
	case "22003": // numeric_value_out_of_range
		return cloud.Errorf(cloud.CodeInvalid, "the input holds a number that the database cannot keep")
	case "40001", "40P01", "55P03", "57014", "53300", "53400": // serialization_failure, deadlock_detected, lock_not_available, query_canceled, too_many_connections, configuration_limit_exceeded
		return errBusy
	case "53100": // disk_full
		return errFull
	case "58030": // io_error
		return errAway
	case "57P01", "57P02", "57P03", "57P05": // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout
		return errAway
	case "53200": // out_of_memory
		return errBusy
	case "28000", "28P01", "3D000", "42501": // invalid_authorization_specification, invalid_password, invalid_catalog_name, insufficient_privilege
		return errRefused
	case "42P01", "42703": // undefined_table, undefined_column
		return errSchema
	case "25006": // read_only_sql_transaction
		return errReadOnly
	case "54001": // statement_too_complex
		return cloud.Errorf(cloud.CodeInvalid, "the input is nested too deeply")
	}
	if strings.HasPrefix(e.Code, "08") { // connection_exception
		return errAway
	}
	return cloud.Errorf(cloud.CodeInternal, "the database refused a statement")
}
