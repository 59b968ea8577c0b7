package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

// maxStrangersBody bounds the bodies of operations without credentials.
const maxStrangersBody = 16 << 10

// cookieLife is how long browsers keep the session's cookie. The session itself
// ends when the server says so.
const cookieLife = 30 * 24 * time.Hour

type loggedInJSON struct {
	Token     string    `json:"token,omitempty" doc:"For Authorization: Bearer; absent if the cookie was asked for"`
	SessionID string    `json:"session_id" format:"uuid"`
	ExpiresAt time.Time `json:"expires_at" doc:"Unless the session is used before"`
	User      userJSON  `json:"user"`
}

type loggedInOutput struct {
	SetCookie []string `header:"Set-Cookie"`
	Body      loggedInJSON
}

func newLoggedInOutput(c *caller, l cloud.LoggedIn, cookie bool) *loggedInOutput {
	out := &loggedInOutput{Body: loggedInJSON{
		Token: l.Token, SessionID: l.Session.ID, ExpiresAt: l.Session.ExpiresAt.UTC(), User: newUserJSON(l.User),
	}}
	if cookie {
		out.Body.Token = ""
		out.SetCookie = []string{sessionCookie(c.cookie, l.Token, cookieLife)}
	}
	return out
}

// sessionCookie is the Set-Cookie header that stores a session's token under
// name, or takes it away when life is negative.
func sessionCookie(name, token string, life time.Duration) string {
	cookie := http.Cookie{
		Name: name, Value: token, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: name == cloud.SecureSessionCookie,
	}
	return cookie.String()
}

type sessionJSON struct {
	ID        string    `json:"id" format:"uuid"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at" doc:"Last use, within an hour"`
	ExpiresAt time.Time `json:"expires_at"`
	Address   string    `json:"address" doc:"Where it was begun; empty if unknown"`
	UserAgent string    `json:"user_agent" doc:"What began it"`
	Current   bool      `json:"current" doc:"It is the one that asks"`
}

func (m *Manager) sessionList(ctx context.Context, c *caller, userID string) (*items[sessionJSON], error) {
	sessions, err := m.accounts.Sessions(ctx, userID)
	if err != nil {
		return nil, err
	}
	list := make([]sessionJSON, len(sessions))
	for i, s := range sessions {
		list[i] = sessionJSON{
			ID: s.ID, CreatedAt: s.CreatedAt.UTC(), SeenAt: s.SeenAt.UTC(), ExpiresAt: s.ExpiresAt.UTC(),
			Address: s.Address, UserAgent: s.UserAgent, Current: s.ID == c.principal.SessionID,
		}
	}
	return listOf(list), nil
}

func (m *Manager) registerSessions(api huma.API) {
	type logInInput struct {
		Body struct {
			Name        string `json:"name"`
			Password    string `json:"password" format:"password"`
			Code        string `json:"code,omitempty" doc:"Of the authenticator app, or a recovery code; for users with a second factor"`
			NewPassword string `json:"new_password,omitempty" format:"password" doc:"Replaces a one-time password"`
			Cookie      bool   `json:"cookie,omitempty" doc:"Set the session's cookie instead of telling its token"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "log-in", Method: http.MethodPost, Path: prefix + "/sessions", Tags: []string{"sessions"},
		Summary: "Log in", DefaultStatus: http.StatusCreated, MaxBodyBytes: maxStrangersBody,
	}, func(ctx context.Context, c *caller, in *logInInput) (*loggedInOutput, error) {
		l, err := m.accounts.LogIn(ctx, cloud.LogIn{
			Name: in.Body.Name, Password: in.Body.Password, Code: in.Body.Code, NewPassword: in.Body.NewPassword, Client: c.client,
		})
		return newLoggedInOutput(c, l, in.Body.Cookie), err
	})

	type invitationInput struct {
		Body struct {
			Token    string `json:"token" doc:"Of the invitation, pin_…: what its link has behind the #"`
			Password string `json:"password" format:"password"`
			Cookie   bool   `json:"cookie,omitempty" doc:"Set the session's cookie instead of telling its token"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "accept-invitation", Method: http.MethodPost, Path: prefix + "/invitations:accept", Tags: []string{"sessions"},
		Summary: "Set the first password of an invited user, and log in", DefaultStatus: http.StatusCreated, MaxBodyBytes: maxStrangersBody,
	}, func(ctx context.Context, c *caller, in *invitationInput) (*loggedInOutput, error) {
		l, err := m.accounts.AcceptInvitation(ctx, in.Body.Token, in.Body.Password, c.client)
		return newLoggedInOutput(c, l, in.Body.Cookie), err
	})

	type logOutOutput struct {
		SetCookie []string `header:"Set-Cookie"`
	}
	operation(m, api, huma.Operation{
		OperationID: "log-out", Method: http.MethodDelete, Path: prefix + "/sessions/current", Tags: []string{"sessions"},
		Summary: "Log out",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*logOutOutput, error) {
		return &logOutOutput{SetCookie: []string{
			sessionCookie(cloud.SessionCookie, "", -time.Second),
			sessionCookie(cloud.SecureSessionCookie, "", -time.Second),
		}}, m.accounts.LogOut(ctx, c.principal)
	})
}
