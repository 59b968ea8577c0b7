package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type memberJSON struct {
	UserID    string        `json:"user_id" format:"uuid"`
	Name      string        `json:"name"`
	Role      cloud.AppRole `json:"role" enum:"app_admin,editor,viewer"`
	CreatedAt time.Time     `json:"created_at"`
}

func newMemberJSON(a cloud.AppMember) memberJSON {
	return memberJSON{UserID: a.UserID, Name: a.UserName, Role: a.Role, CreatedAt: a.CreatedAt.UTC()}
}

// MemberPath is the part of a path that names a member of an app.
type MemberPath struct {
	AppPath
	User string `path:"user" doc:"Name or id"`
}

func (m *Manager) registerMembers(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-members", Method: http.MethodGet, Path: prefix + "/apps/{app}/members", Tags: []string{"members"},
		Summary: "List an app's members by name", Description: "Owners and admins of the instance have a role in every app, listed or not.",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[memberJSON], error) {
		members, err := m.accounts.Members(ctx, c.app.ID)
		if err != nil {
			return nil, err
		}
		list := make([]memberJSON, len(members))
		for i, a := range members {
			list[i] = newMemberJSON(a)
		}
		return listOf(list), nil
	})

	type setMemberInput struct {
		MemberPath
		Body struct {
			Role cloud.AppRole `json:"role" enum:"app_admin,editor,viewer"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "set-member", Method: http.MethodPut, Path: prefix + "/apps/{app}/members/{user}", Tags: []string{"members"},
		Summary: "Give a user a role in an app",
	}, func(ctx context.Context, c *caller, in *setMemberInput) (*body[memberJSON], error) {
		note(ctx, fact("role", in.Body.Role))
		member, err := m.accounts.SetMember(ctx, c.app.ID, in.User, in.Body.Role)
		return &body[memberJSON]{newMemberJSON(member)}, err
	})

	operation(m, api, huma.Operation{
		OperationID: "remove-member", Method: http.MethodDelete, Path: prefix + "/apps/{app}/members/{user}", Tags: []string{"members"},
		Summary: "Take a user's role in an app away",
	}, func(ctx context.Context, c *caller, in *MemberPath) (*struct{}, error) {
		return &struct{}{}, m.accounts.RemoveMember(ctx, c.app.ID, in.User)
	})
}
