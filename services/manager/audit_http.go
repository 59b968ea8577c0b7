package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type auditEntryJSON struct {
	ID      string    `json:"id" format:"uuid"`
	At      time.Time `json:"at"`
	UserID  string    `json:"user_id" doc:"Empty for commands on the machine itself"`
	User    string    `json:"user" doc:"The user's name then"`
	Via     string    `json:"via" doc:"session, key NAME, log-in, claim, invitation or command"`
	Address string    `json:"address" doc:"IP address; empty if unknown"`
	Action  string    `json:"action" doc:"Id of the operation" example:"delete-app"`
	AppID   string    `json:"app_id" doc:"Empty if it is about no app"`
	App     string    `json:"app" doc:"The app's slug then"`
	Target  string    `json:"target" doc:"What was changed, and what of it; at most 500 bytes" example:"users/ada role=owner"`
}

func newAuditEntryJSON(e cloud.AuditEntry) auditEntryJSON {
	return auditEntryJSON{
		ID: e.ID, At: e.At.UTC(), UserID: e.UserID, User: e.UserName, Via: e.Via, Address: e.Address,
		Action: e.Action, AppID: e.AppID, App: e.AppSlug, Target: e.Target,
	}
}

func (m *Manager) registerAudit(api huma.API) {
	type auditInput struct {
		User   string `query:"user" doc:"Only what this user did: name, or id"`
		App    string `query:"app" doc:"Only what is about this app: slug, former slug or id"`
		Action string `query:"action" doc:"Only this operation" example:"delete-app"`
		Before string `query:"before" doc:"Only entries before the one with this id: the last of the page before"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	operation(m, api, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: prefix + "/audit", Tags: []string{"audit"},
		Summary: "List changes of the control plane, newest first", Description: "Users and apps that are gone are found by their ids.",
	}, func(ctx context.Context, c *caller, in *auditInput) (*items[auditEntryJSON], error) {
		entries, err := m.Audit(ctx, c.principal, AuditQuery(*in))
		if err != nil {
			return nil, err
		}
		list := make([]auditEntryJSON, len(entries))
		for i, e := range entries {
			list[i] = newAuditEntryJSON(e)
		}
		return listOf(list), nil
	})
}
