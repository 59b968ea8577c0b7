package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type meJSON struct {
	UserID       string             `json:"user_id" format:"uuid"`
	Name         string             `json:"name"`
	Role         cloud.InstanceRole `json:"role" enum:"owner,admin,member"`
	Access       cloud.Access       `json:"access" enum:"none,password,one_time,invited" doc:"How the user comes in by name"`
	SecondFactor bool               `json:"second_factor" doc:"Logging in takes a code too"`
	SessionID    string             `json:"session_id" doc:"The session that was used; empty for a key"`
	Key          *ownKeyJSON        `json:"key" doc:"The API key that was used; null for a session"`
}

// TransformSchema says that key may be null.
func (meJSON) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "key")
}

type ownKeyJSON struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Scopes    []cloud.Scope `json:"scopes" nullable:"false"`
	AppID     string        `json:"app_id" doc:"The only app it works for; empty for all"`
	ExpiresAt *time.Time    `json:"expires_at" doc:"null: never"`
}

func newMeJSON(p *cloud.Principal, user cloud.User) meJSON {
	out := meJSON{
		UserID: p.UserID, Name: p.Name, Role: p.Role,
		Access: user.Access, SecondFactor: user.SecondFactor, SessionID: p.SessionID,
	}
	if k := p.Key; k != nil {
		out.Key = &ownKeyJSON{ID: k.ID, Name: k.Name, Scopes: append([]cloud.Scope{}, k.Scopes...), AppID: k.AppID, ExpiresAt: orNever(k.ExpiresAt)}
	}
	return out
}

// orNever is nil for the zero time.
func orNever(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (m *Manager) registerMe(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "whoami", Method: http.MethodGet, Path: prefix + "/me", Tags: []string{"me"},
		Summary: "Tell who the caller is",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*body[meJSON], error) {
		user, err := m.accounts.User(ctx, c.principal.UserID)
		return &body[meJSON]{newMeJSON(c.principal, user)}, err
	})

	type passwordInput struct {
		Body struct {
			Current     string `json:"current,omitempty" format:"password" doc:"Absent for users without a password"`
			NewPassword string `json:"new_password" format:"password"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "set-password", Method: http.MethodPut, Path: prefix + "/me/password", Tags: []string{"me"},
		Summary:     "Change the caller's password, and end the caller's other sessions",
		Description: "Takes a session. A user who has no password yet may set the first one with a key that has the scope instance:admin and is bound to no app.",
	}, func(ctx context.Context, c *caller, in *passwordInput) (*struct{}, error) {
		return &struct{}{}, m.accounts.ChangePassword(ctx, c.principal, in.Body.Current, in.Body.NewPassword, c.client)
	})

	operation(m, api, huma.Operation{
		OperationID: "list-own-sessions", Method: http.MethodGet, Path: prefix + "/me/sessions", Tags: []string{"me"},
		Summary: "List the caller's sessions, last used first",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*items[sessionJSON], error) {
		return m.sessionList(ctx, c, c.principal.UserID)
	})

	type sessionPath struct {
		Session string `path:"session" doc:"Id"`
	}
	operation(m, api, huma.Operation{
		OperationID: "end-own-session", Method: http.MethodDelete, Path: prefix + "/me/sessions/{session}", Tags: []string{"me"},
		Summary: "End a session of the caller",
	}, func(ctx context.Context, c *caller, in *sessionPath) (*struct{}, error) {
		return &struct{}{}, m.EndSession(ctx, c.principal, self(c.principal), in.Session)
	})

	type endedOutput struct {
		Body struct {
			Ended int `json:"ended" doc:"How many sessions that were"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "end-other-sessions", Method: http.MethodPost, Path: prefix + "/me/sessions:end-others", Tags: []string{"me"},
		Summary: "End all sessions of the caller but this one",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*endedOutput, error) {
		ended, err := m.accounts.EndOtherSessions(ctx, c.principal)
		out := &endedOutput{}
		out.Body.Ended = ended
		return out, err
	})

	type passwordCheckInput struct {
		Body struct {
			Password string `json:"password" format:"password"`
		}
	}
	type beginTOTPOutput struct {
		Body struct {
			Secret string `json:"secret" doc:"Base32, for typing it in"`
			URI    string `json:"uri" doc:"otpauth://…, for a QR code"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "begin-totp", Method: http.MethodPost, Path: prefix + "/me/totp", Tags: []string{"me"},
		Summary: "Make the secret of a second factor, which the first code puts into force",
	}, func(ctx context.Context, c *caller, in *passwordCheckInput) (*beginTOTPOutput, error) {
		setup, err := m.accounts.BeginTOTP(ctx, c.principal, in.Body.Password, c.client)
		out := &beginTOTPOutput{}
		out.Body.Secret, out.Body.URI = setup.Secret, setup.URI
		return out, err
	})

	type confirmTOTPInput struct {
		Body struct {
			Code string `json:"code" doc:"Six digits of the authenticator app"`
		}
	}
	type confirmTOTPOutput struct {
		Body struct {
			RecoveryCodes []string `json:"recovery_codes" nullable:"false" doc:"Each is good once in place of a code; they are not shown again"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "confirm-totp", Method: http.MethodPost, Path: prefix + "/me/totp:confirm", Tags: []string{"me"},
		Summary: "Put the second factor into force, and end the caller's other sessions",
	}, func(ctx context.Context, c *caller, in *confirmTOTPInput) (*confirmTOTPOutput, error) {
		codes, err := m.accounts.ConfirmTOTP(ctx, c.principal, in.Body.Code)
		out := &confirmTOTPOutput{}
		out.Body.RecoveryCodes = codes
		return out, err
	})

	operation(m, api, huma.Operation{
		OperationID: "disable-totp", Method: http.MethodPost, Path: prefix + "/me/totp:disable", Tags: []string{"me"},
		Summary: "Take the second factor away", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *passwordCheckInput) (*struct{}, error) {
		return &struct{}{}, m.accounts.DisableTOTP(ctx, c.principal, in.Body.Password, c.client)
	})
}
