package manager

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type userJSON struct {
	ID           string             `json:"id" format:"uuid"`
	Name         string             `json:"name"`
	Role         cloud.InstanceRole `json:"role" enum:"owner,admin,member"`
	Active       bool               `json:"active" doc:"An inactive user's sessions and keys do not work"`
	Access       cloud.Access       `json:"access" enum:"none,password,one_time,invited" doc:"How the user comes in by name"`
	SecondFactor bool               `json:"second_factor" doc:"Logging in takes a code too"`
	CreatedAt    time.Time          `json:"created_at"`
	LastLoginAt  *time.Time         `json:"last_login_at" doc:"null: never"`
}

func newUserJSON(u cloud.User) userJSON {
	return userJSON{
		ID: u.ID, Name: u.Name, Role: u.Role, Active: u.Active, Access: u.Access, SecondFactor: u.SecondFactor,
		CreatedAt: u.CreatedAt.UTC(), LastLoginAt: orNever(u.LastLoginAt),
	}
}

// HandoverJSON is what whoever made or reset a user hands over to them.
type HandoverJSON struct {
	Password   string          `json:"password,omitempty" doc:"One-time password, which the user replaces at the first log-in"`
	Invitation *invitationJSON `json:"invitation,omitempty" doc:"Where the user sets a password, if an invitation was asked for"`
	ExpiresAt  time.Time       `json:"expires_at"`
}

type invitationJSON struct {
	Token string `json:"token" doc:"pin_…"`
	URL   string `json:"url" doc:"Link with the token, as seen from the request's host"`
}

func newHandoverJSON(c *caller, h cloud.Handover) HandoverJSON {
	out := HandoverJSON{Password: h.Password, ExpiresAt: h.ExpiresAt.UTC()}
	if h.Invitation != "" {
		out.Invitation = &invitationJSON{Token: h.Invitation, URL: c.origin.invitation(h.Invitation)}
	}
	return out
}

// UserPath is the part of a path that names a user, who is found before an
// operation runs: see caller.
type UserPath struct {
	User string `path:"user" doc:"Name or id"`
}

func (m *Manager) registerUsers(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-users", Method: http.MethodGet, Path: prefix + "/users", Tags: []string{"users"},
		Summary: "List the users by name",
	}, func(ctx context.Context, _ *caller, _ *struct{}) (*items[userJSON], error) {
		users, err := m.accounts.Users(ctx)
		if err != nil {
			return nil, err
		}
		list := make([]userJSON, len(users))
		for i, u := range users {
			list[i] = newUserJSON(u)
		}
		return listOf(list), nil
	})

	type createUserInput struct {
		Body struct {
			Name   string             `json:"name" doc:"Letters, digits and . _ - @"`
			Role   cloud.InstanceRole `json:"role,omitempty" enum:"owner,admin,member" doc:"member if absent"`
			Invite bool               `json:"invite,omitempty" doc:"An invitation instead of a one-time password"`
		}
	}
	type createUserOutput struct {
		Body struct {
			User userJSON `json:"user"`
			HandoverJSON
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "create-user", Method: http.MethodPost, Path: prefix + "/users", Tags: []string{"users"},
		Summary: "Create a user", DefaultStatus: http.StatusCreated,
	}, func(ctx context.Context, c *caller, in *createUserInput) (*createUserOutput, error) {
		about(ctx, thing("users", in.Body.Name)+fact("role", cmp.Or(in.Body.Role, cloud.Member))+fact("invite", in.Body.Invite))
		user, handover, err := m.accounts.CreateUser(ctx, c.principal, cloud.UserDraft{Name: in.Body.Name, Role: in.Body.Role, Invite: in.Body.Invite})
		out := &createUserOutput{}
		out.Body.User, out.Body.HandoverJSON = newUserJSON(user), newHandoverJSON(c, handover)
		return out, err
	})

	operation(m, api, huma.Operation{
		OperationID: "get-user", Method: http.MethodGet, Path: prefix + "/users/{user}", Tags: []string{"users"},
		Summary: "Show a user",
	}, func(_ context.Context, c *caller, _ *UserPath) (*body[userJSON], error) {
		return &body[userJSON]{newUserJSON(c.user)}, nil
	})

	type updateUserInput struct {
		UserPath
		Body struct {
			Name   *string             `json:"name,omitempty"`
			Role   *cloud.InstanceRole `json:"role,omitempty" enum:"owner,admin,member"`
			Active *bool               `json:"active,omitempty"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "update-user", Method: http.MethodPatch, Path: prefix + "/users/{user}", Tags: []string{"users"},
		Summary:     "Rename, promote, demote, activate or deactivate a user",
		Description: "Only owners change owners or make one. The last owner stays.",
	}, func(ctx context.Context, c *caller, in *updateUserInput) (*body[userJSON], error) {
		note(ctx, setTo("role", in.Body.Role), setTo("active", in.Body.Active), setTo("name", in.Body.Name))
		user, err := m.accounts.ChangeUser(ctx, c.principal, c.user.ID, cloud.UserChange(in.Body))
		return &body[userJSON]{newUserJSON(user)}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "delete-user", Method: http.MethodDelete, Path: prefix + "/users/{user}", Tags: []string{"users"},
		Summary: "Delete a user with sessions, keys and memberships",
	}, func(ctx context.Context, c *caller, _ *UserPath) (*struct{}, error) {
		return &struct{}{}, m.accounts.DeleteUser(ctx, c.principal, c.user.ID)
	})

	type resetUserInput struct {
		UserPath
		Body *struct {
			Invite bool `json:"invite,omitempty" doc:"An invitation instead of a one-time password"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "reset-user", Method: http.MethodPost, Path: prefix + "/users/{user}/reset", Tags: []string{"users"},
		Summary: "Give a user a new way in; ends the user's sessions and second factor",
	}, func(ctx context.Context, c *caller, in *resetUserInput) (*body[HandoverJSON], error) {
		invite := in.Body != nil && in.Body.Invite
		note(ctx, fact("invite", invite))
		handover, err := m.accounts.ResetAccess(ctx, c.principal, c.user.ID, invite)
		return &body[HandoverJSON]{newHandoverJSON(c, handover)}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "list-sessions", Method: http.MethodGet, Path: prefix + "/users/{user}/sessions", Tags: []string{"users"},
		Summary: "List a user's sessions, last used first",
	}, func(ctx context.Context, c *caller, _ *UserPath) (*items[sessionJSON], error) {
		return m.sessionList(ctx, c, c.user.ID)
	})

	type sessionPath struct {
		UserPath
		Session string `path:"session" doc:"Id"`
	}
	operation(m, api, huma.Operation{
		OperationID: "end-session", Method: http.MethodDelete, Path: prefix + "/users/{user}/sessions/{session}", Tags: []string{"users"},
		Summary: "End a session of a user",
	}, func(ctx context.Context, c *caller, in *sessionPath) (*struct{}, error) {
		return &struct{}{}, m.EndSession(ctx, c.principal, c.user, in.Session)
	})
}
