package cloud

import (
	"errors"
	"fmt"
	"net/http"
)

// Code names a failure for programs. Codes are part of the API: they never
// change their meaning and are documented in docs/errors.md.
type Code string

// The codes.
const (
	CodeInternal         Code = "internal"                 // a fault of PiCloud; the cause is in the server's log
	CodeInvalid          Code = "invalid"                  // input refused; Field names what
	CodeUnauthorized     Code = "unauthorized"             // no valid credentials
	CodeUnclaimed        Code = "unclaimed"                // the instance has no owner yet
	CodeSecondFactor     Code = "second_factor_required"   // the password is right, the TOTP or recovery code missing or wrong
	CodePasswordChange   Code = "password_change_required" // the one-time password is right and must be replaced
	CodeRateLimited      Code = "rate_limited"             // too many failed attempts; Details says when to try again
	CodeCrossSite        Code = "cross_site"               // a page of another origin caused the request
	CodeLastOwner        Code = "last_owner"               // the last one who may administer the instance stays
	CodeForbidden        Code = "forbidden"                // valid credentials that do not suffice
	CodeNotFound         Code = "not_found"                // no such thing, or none the caller may know of
	CodeConflict         Code = "conflict"                 // the state changed, or the name is taken
	CodeRouteConflict    Code = "route_conflict"           // another route of the app already answers there
	CodeReserved         Code = "reserved_path"            // the path belongs to PiCloud on instance hosts
	CodeBuildFailed      Code = "build_failed"             // the source does not build; Details holds the diagnostics
	CodeLimit            Code = "limit"                    // a limit was exceeded; Message names it
	CodeTooLarge         Code = "body_too_large"           // a buffered body over the limit
	CodeUnavailable      Code = "unavailable"              // the database or a worker is away; try again
	CodeBusy             Code = "busy"                     // the execution gate is full; try again
	CodeHostUnknown      Code = "host_unknown"             // no app claims the request's host
	CodeRouteUnknown     Code = "route_unknown"            // the app has no route for the path
	CodeMethodNotAllowed Code = "method_not_allowed"       // the path exists with other methods
	CodeScriptThrew      Code = "script_threw"             // the script ended with an uncaught exception
	CodeInvalidResponse  Code = "invalid_response"         // the script returned something that is no response
	CodeTimeout          Code = "timeout"                  // the wall clock limit passed
	CodeCPU              Code = "cpu_exceeded"             // the CPU time limit passed
	CodeMemory           Code = "memory_exceeded"          // the memory limit passed
	CodeWorkerDied       Code = "worker_died"              // the worker ended before the script answered
)

var statuses = map[Code]int{
	CodeInternal:         http.StatusInternalServerError,
	CodeInvalid:          http.StatusUnprocessableEntity,
	CodeUnauthorized:     http.StatusUnauthorized,
	CodeUnclaimed:        http.StatusForbidden,
	CodeSecondFactor:     http.StatusUnauthorized,
	CodePasswordChange:   http.StatusForbidden,
	CodeRateLimited:      http.StatusTooManyRequests,
	CodeCrossSite:        http.StatusForbidden,
	CodeLastOwner:        http.StatusUnprocessableEntity,
	CodeForbidden:        http.StatusForbidden,
	CodeNotFound:         http.StatusNotFound,
	CodeConflict:         http.StatusConflict,
	CodeRouteConflict:    http.StatusConflict,
	CodeReserved:         http.StatusUnprocessableEntity,
	CodeBuildFailed:      http.StatusUnprocessableEntity,
	CodeLimit:            http.StatusInsufficientStorage,
	CodeTooLarge:         http.StatusRequestEntityTooLarge,
	CodeUnavailable:      http.StatusServiceUnavailable,
	CodeBusy:             http.StatusServiceUnavailable,
	CodeHostUnknown:      http.StatusNotFound,
	CodeRouteUnknown:     http.StatusNotFound,
	CodeMethodNotAllowed: http.StatusMethodNotAllowed,
	CodeScriptThrew:      http.StatusInternalServerError,
	CodeInvalidResponse:  http.StatusBadGateway,
	CodeTimeout:          http.StatusGatewayTimeout,
	CodeCPU:              http.StatusInsufficientStorage,
	CodeMemory:           http.StatusInsufficientStorage,
	CodeWorkerDied:       http.StatusServiceUnavailable,
}

// Status is the HTTP status that an answer with this code carries; an unknown
// code is an internal error.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Error is a failure with a public side (Code, Message, Field, Details) and a
// hidden cause that only logs see.
type Error struct {
	Code    Code
	Message string // for people: what, where and what to do; never a secret
	Field   string // the input it is about, as a path such as "scripts[0].name"; may be empty
	Details any    // further public facts, JSON encodable; may be nil
	cause   error
}

// Errorf makes an Error whose message is formatted like fmt.Sprintf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes a CodeInvalid error about field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e with cause hidden behind it.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Field != "" {
		s = string(e.Code) + ": " + e.Field + ": " + e.Message
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.cause }

// CodeOf is the code of the first Error in err's chain; CodeInternal if there
// is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
