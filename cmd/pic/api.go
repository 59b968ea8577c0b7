package main

import (
	"encoding/json"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// The parts of the API's answers that pic shows; it passes the rest through.

type list[T any] struct {
	Items []T `json:"items"`
}

type me struct {
	Name         string       `json:"name"`
	Role         string       `json:"role"`
	Key          *apiKey      `json:"key"`
	SecondFactor bool         `json:"second_factor"`
	Access       cloud.Access `json:"access"`
}

type apiKey struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	AppID      string     `json:"app_id"`
	App        string     `json:"app"` // slug; "" for all apps
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	CreatedAt  time.Time  `json:"created_at"`
}

type user struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Role         string       `json:"role"`
	Active       bool         `json:"active"`
	Access       cloud.Access `json:"access"`
	SecondFactor bool         `json:"second_factor"`
	LastLoginAt  *time.Time   `json:"last_login_at"`
	CreatedAt    time.Time    `json:"created_at"`
}

// handover is a secret to be handed over to a user.
type handover struct {
	Password   string `json:"password"`
	Invitation *struct {
		URL string `json:"url"`
	} `json:"invitation"`
	ExpiresAt time.Time `json:"expires_at"`
}

type session struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
	Current   bool      `json:"current"`
}

type member struct {
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	CreatedAt time.Time `json:"created_at"`
}

// envEntry is a variable, or a secret without its value.
type envEntry struct {
	Name      string    `json:"name"`
	Value     string    `json:"value"`
	UpdatedAt time.Time `json:"updated_at"`
}

type auditEntry struct {
	At      time.Time `json:"at"`
	User    string    `json:"user"`
	Via     string    `json:"via"`
	Address string    `json:"address"`
	Action  string    `json:"action"`
	App     string    `json:"app"`
	Target  string    `json:"target"`
}

type app struct {
	ID        string    `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	MyRole    string    `json:"my_role"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type domain struct {
	Host string `json:"host"`
}

type script struct {
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Kind      cloud.ScriptKind `json:"kind"`
	Language  cloud.Language   `json:"language"`
	Version   int              `json:"version"`
	Source    string           `json:"source"`
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
}

type scriptVersion struct {
	Version   int              `json:"version"`
	Kind      cloud.ScriptKind `json:"kind"`
	Language  cloud.Language   `json:"language"`
	Source    string           `json:"source"`
	CreatedAt time.Time        `json:"created_at"`
	CreatedBy string           `json:"created_by"`
}

type route struct {
	ID     string `json:"id"`
	Script string `json:"script"`
	Method string `json:"method"`
	Host   string `json:"host"`
	Path   string `json:"path"`
	Mode   string `json:"mode"`
	URL    string `json:"url"`
}

func (r route) async() bool { return r.Mode == string(cloud.Async) }

type routeMatch struct {
	Route  route             `json:"route"`
	Script string            `json:"script"`
	Params map[string]string `json:"params"`
}

// newRoute is a route as it is asked for.
type newRoute struct {
	Script string `json:"script,omitempty"`
	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path"`
	Mode   string `json:"mode,omitempty"`
}

type deployment struct {
	Scripts []deployScript `json:"scripts"`
}

type deployScript struct {
	Name     string           `json:"name"`
	Kind     cloud.ScriptKind `json:"kind,omitempty"`
	Language cloud.Language   `json:"language,omitempty"`
	Source   string           `json:"source"`
	Routes   []newRoute       `json:"routes,omitempty"`
}

type deployed struct {
	Scripts []struct {
		Script script   `json:"script"`
		Routes []route  `json:"routes"`
		URLs   []string `json:"urls"`
	} `json:"scripts"`
}

type execution struct {
	ID         string             `json:"id"`
	Script     string             `json:"script"`
	Version    int                `json:"version"`
	Trigger    string             `json:"trigger"`
	Attempt    int                `json:"attempt"`
	Depth      int                `json:"depth"`
	Method     string             `json:"method"`
	Path       string             `json:"path"`
	Status     int                `json:"status"`
	Code       cloud.Code         `json:"code"`
	StartedAt  time.Time          `json:"started_at"`
	DurationMS float64            `json:"duration_ms"`
	Lines      []cloud.LogLine    `json:"lines"`
	Truncated  bool               `json:"truncated"`
	Error      *cloud.ScriptError `json:"error"`
}

// failed follows cloud.ExecutionFilter.
func (e execution) failed() bool { return e.Code != "" || e.Status >= 500 }

// eventState is what became of an event, or of a request that was answered at
// once.
type eventState struct {
	ID         string      `json:"id"`
	App        string      `json:"app"`
	Status     string      `json:"status"` // as in cloud.EventState; of a request that was answered also "failed"
	Attempts   int         `json:"attempts"`
	NextAt     *time.Time  `json:"next_at"`
	Executions []execution `json:"executions"`
	DeadLetter string      `json:"dead_letter"` // "" if there is none
}

type trigger struct {
	ID     string          `json:"id"`
	Script string          `json:"script"`
	Kind   cloud.EventKind `json:"kind"`
	cloud.TriggerFilter
	Enabled   bool        `json:"enabled"`
	Retry     retryPolicy `json:"retry"`
	User      string      `json:"user"` // "" if the user is gone
	NextAt    *time.Time  `json:"next_at"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
}

// newTrigger is a trigger as it is asked for.
type newTrigger struct {
	Script string `json:"script"`
	Kind   string `json:"kind"`
	cloud.TriggerFilter
	Retry   retryPolicy `json:"retry,omitzero"`
	Enabled bool        `json:"enabled"`
}

// retryPolicy is what happens after a failed attempt; asked for, what is zero
// is left to the server.
type retryPolicy struct {
	Attempts int           `json:"attempts,omitempty"`
	Backoff  cloud.Backoff `json:"backoff,omitempty"`
	BaseMS   int64         `json:"base_ms,omitempty"`
	CapMS    int64         `json:"cap_ms,omitempty"`
}

type deadLetter struct {
	ID         string             `json:"id"`
	EventID    string             `json:"event_id"`
	Kind       cloud.EventKind    `json:"kind"`
	Op         string             `json:"op"`
	TriggerID  string             `json:"trigger_id"` // "" for an async route
	Script     string             `json:"script"`
	Reason     cloud.Code         `json:"reason"`
	Attempts   int                `json:"attempts"`
	At         time.Time          `json:"at"`
	DiedAt     time.Time          `json:"died_at"`
	Resolution cloud.Resolution   `json:"resolution"` // "" while it waits
	Note       string             `json:"note"`
	ResolvedAt *time.Time         `json:"resolved_at"`
	ResolvedBy string             `json:"resolved_by"`
	Depth      int                `json:"depth"`
	Payload    json.RawMessage    `json:"payload"`
	LastError  *cloud.ScriptError `json:"last_error"`
}

type entry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value,omitempty"`
	Version   int64           `json:"version"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	UpdatedAt time.Time       `json:"updated_at"`
}
