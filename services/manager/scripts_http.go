package manager

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

// limitsJSON are limits as asked for; what is absent is the operator's default.
type limitsJSON struct {
	WallMS            int64 `json:"wall_ms,omitempty" doc:"From dispatch to the end, in milliseconds"`
	CPUMS             int64 `json:"cpu_ms,omitempty" doc:"Time running JavaScript, in milliseconds"`
	MemoryBytes       int64 `json:"memory_bytes,omitempty" doc:"Memory of the app's worker"`
	RequestBodyBytes  int64 `json:"request_body_bytes,omitempty" doc:"Request body that the script buffers"`
	ResponseBodyBytes int64 `json:"response_body_bytes,omitempty" doc:"Response body that is not a stream"`
	HostCalls         int   `json:"host_calls,omitempty" doc:"Calls of data services"`
	Fetches           int   `json:"fetches,omitempty" doc:"Outbound requests"`
	LogBytes          int   `json:"log_bytes,omitempty" doc:"Console output, then truncated"`
}

func newLimitsJSON(l cloud.Limits) limitsJSON {
	return limitsJSON{
		WallMS: l.Wall.Milliseconds(), CPUMS: l.CPU.Milliseconds(), MemoryBytes: l.Memory,
		RequestBodyBytes: l.RequestBody, ResponseBodyBytes: l.ResponseBody,
		HostCalls: l.HostCalls, Fetches: l.Fetches, LogBytes: l.Log,
	}
}

func (l *limitsJSON) limits() *cloud.Limits {
	if l == nil {
		return nil
	}
	return &cloud.Limits{
		Wall: milliseconds(l.WallMS), CPU: milliseconds(l.CPUMS), Memory: l.MemoryBytes,
		RequestBody: l.RequestBodyBytes, ResponseBody: l.ResponseBodyBytes,
		HostCalls: l.HostCalls, Fetches: l.Fetches, Log: l.LogBytes,
	}
}

// milliseconds is n milliseconds, or the nearest Duration.
func milliseconds(n int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(max(-most, min(n, most))) * time.Millisecond
}

type scriptJSON struct {
	ID        string           `json:"id" format:"uuid"`
	Name      string           `json:"name"`
	Kind      cloud.ScriptKind `json:"kind" enum:"endpoint,module"`
	Language  cloud.Language   `json:"language" enum:"js,ts,jsx,tsx"`
	Version   int              `json:"version"`
	Source    *string          `json:"source,omitempty" doc:"Absent in lists and deployments"`
	Limits    limitsJSON       `json:"limits" doc:"As asked for"`
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
}

func newScriptJSON(s cloud.Script) scriptJSON {
	return scriptJSON{
		ID: s.ID, Name: s.Name, Kind: s.Kind, Language: s.Language, Version: s.Version,
		Limits: newLimitsJSON(s.Limits), CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
}

func (s scriptJSON) withSource(source string) scriptJSON {
	s.Source = &source
	return s
}

type scriptVersionJSON struct {
	Version   int              `json:"version"`
	Kind      cloud.ScriptKind `json:"kind" enum:"endpoint,module"`
	Language  cloud.Language   `json:"language" enum:"js,ts,jsx,tsx"`
	Source    *string          `json:"source,omitempty" doc:"Absent in lists"`
	CreatedAt time.Time        `json:"created_at"`
	CreatedBy string           `json:"created_by" doc:"Name of the user who saved it"`
}

func newScriptVersionJSON(v cloud.ScriptVersion) scriptVersionJSON {
	return scriptVersionJSON{Version: v.Version, Kind: v.Kind, Language: v.Language, CreatedAt: v.CreatedAt.UTC(), CreatedBy: v.CreatedBy}
}

// DraftJSON is what saving and deploying a script have in common.
type DraftJSON struct {
	Kind     cloud.ScriptKind `json:"kind,omitempty" enum:"endpoint,module" doc:"As it is if absent; a new script is an endpoint"`
	Language cloud.Language   `json:"language,omitempty" enum:"js,ts,jsx,tsx" doc:"As it is if absent; a new script is TypeScript"`
	Source   string           `json:"source"`
	Limits   *limitsJSON      `json:"limits,omitempty" doc:"As they are if absent"`
}

func (d DraftJSON) draft(name string) ScriptDraft {
	return ScriptDraft{Name: name, Kind: d.Kind, Language: d.Language, Source: d.Source, Limits: d.Limits.limits()}
}

// ScriptDraftJSON is a script of a deployment.
type ScriptDraftJSON struct {
	Name string `json:"name"`
	DraftJSON
	Routes []RouteDraftJSON `json:"routes,omitempty" nullable:"false" doc:"Added where missing, others stay. If absent, an endpoint without any route gets /NAME and /NAME/*"`
}

type deployedJSON struct {
	Script scriptJSON  `json:"script"`
	Routes []routeJSON `json:"routes" nullable:"false" doc:"All of the script's routes"`
	URLs   []string    `json:"urls" nullable:"false" doc:"Of the routes, whole paths before patterns"`
}

// diagnosticsJSON are the details of a build that failed.
type diagnosticsJSON struct {
	Diagnostics []cloud.Diagnostic `json:"diagnostics"`
}

// ScriptPath is the part of a path that names a script of an app.
type ScriptPath struct {
	AppPath
	Script string `path:"script" doc:"Name or id"`
}

func (m *Manager) registerScripts(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "list-scripts", Method: http.MethodGet, Path: prefix + "/apps/{app}/scripts", Tags: []string{"scripts"},
		Summary: "List an app's scripts",
	}, func(ctx context.Context, c *caller, _ *AppPath) (*items[scriptJSON], error) {
		scripts, err := m.Scripts(ctx, c.app.ID)
		if err != nil {
			return nil, err
		}
		list := make([]scriptJSON, len(scripts))
		for i, s := range scripts {
			list[i] = newScriptJSON(s)
		}
		return listOf(list), nil
	})

	operation(m, api, huma.Operation{
		OperationID: "get-script", Method: http.MethodGet, Path: prefix + "/apps/{app}/scripts/{script}", Tags: []string{"scripts"},
		Summary: "Show a script with its source",
	}, func(ctx context.Context, c *caller, in *ScriptPath) (*body[scriptJSON], error) {
		s, err := m.Script(ctx, c.app.ID, in.Script)
		return &body[scriptJSON]{newScriptJSON(s).withSource(s.Source)}, err
	})

	type saveInput struct {
		AppPath
		Script string `path:"script" doc:"Name"`
		Body   DraftJSON
	}
	type saveOutput struct {
		Status int
		Body   scriptJSON
	}
	operation(m, api, huma.Operation{
		OperationID: "save-script", Method: http.MethodPut, Path: prefix + "/apps/{app}/scripts/{script}", Tags: []string{"scripts"},
		Summary: "Create or change a script", MaxBodyBytes: maxScriptBody,
		Description: "Builds the source, and the endpoints that import it. Answers 201 for a new script. What is saved unchanged keeps its version.",
	}, func(ctx context.Context, c *caller, in *saveInput) (*saveOutput, error) {
		saved, err := m.SaveScript(ctx, c.app.ID, in.Body.draft(in.Script), c.principal.Name)
		out := &saveOutput{Status: http.StatusOK, Body: newScriptJSON(saved.Script).withSource(saved.Script.Source)}
		if saved.Created {
			out.Status = http.StatusCreated
		}
		return out, err
	})

	responses := api.OpenAPI().Paths[prefix+"/apps/{app}/scripts/{script}"].Put.Responses
	responses["201"] = &huma.Response{Description: http.StatusText(http.StatusCreated), Content: responses["200"].Content}

	operation(m, api, huma.Operation{
		OperationID: "delete-script", Method: http.MethodDelete, Path: prefix + "/apps/{app}/scripts/{script}", Tags: []string{"scripts"},
		Summary: "Delete a script with its versions, routes and triggers",
	}, func(ctx context.Context, c *caller, in *ScriptPath) (*struct{}, error) {
		return &struct{}{}, m.DeleteScript(ctx, c.app.ID, in.Script)
	})

	operation(m, api, huma.Operation{
		OperationID: "list-versions", Method: http.MethodGet, Path: prefix + "/apps/{app}/scripts/{script}/versions", Tags: []string{"scripts"},
		Summary: "List the kept versions of a script, newest first",
	}, func(ctx context.Context, c *caller, in *ScriptPath) (*items[scriptVersionJSON], error) {
		versions, err := m.Versions(ctx, c.app.ID, in.Script)
		if err != nil {
			return nil, err
		}
		list := make([]scriptVersionJSON, len(versions))
		for i, v := range versions {
			list[i] = newScriptVersionJSON(v)
		}
		return listOf(list), nil
	})

	type versionInput struct {
		ScriptPath
		Version int `path:"version" minimum:"1" maximum:"2147483647"`
	}
	operation(m, api, huma.Operation{
		OperationID: "get-version", Method: http.MethodGet, Path: prefix + "/apps/{app}/scripts/{script}/versions/{version}", Tags: []string{"scripts"},
		Summary: "Show a version of a script with its source",
	}, func(ctx context.Context, c *caller, in *versionInput) (*body[scriptVersionJSON], error) {
		v, err := m.Version(ctx, c.app.ID, in.Script, in.Version)
		out := newScriptVersionJSON(v)
		out.Source = &v.Source
		return &body[scriptVersionJSON]{out}, err
	})

	type rollbackInput struct {
		ScriptPath
		Body struct {
			Version int `json:"version" minimum:"1" maximum:"2147483647"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "rollback-script", Method: http.MethodPost, Path: prefix + "/apps/{app}/scripts/{script}/rollback", Tags: []string{"scripts"},
		Summary: "Save an old version's source as a new version",
	}, func(ctx context.Context, c *caller, in *rollbackInput) (*body[scriptJSON], error) {
		s, err := m.Rollback(ctx, c.app.ID, in.Script, in.Body.Version, c.principal.Name)
		return &body[scriptJSON]{newScriptJSON(s).withSource(s.Source)}, err
	})

	type deployInput struct {
		AppPath
		Body struct {
			Scripts []ScriptDraftJSON `json:"scripts" nullable:"false" minItems:"1" maxItems:"200"`
		}
	}
	type deployOutput struct {
		Body struct {
			Scripts []deployedJSON `json:"scripts" nullable:"false"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "deploy", Method: http.MethodPost, Path: prefix + "/apps/{app}/deploy", Tags: []string{"scripts"},
		Summary: "Save scripts and add routes, all or nothing", MaxBodyBytes: maxDeployBody,
	}, func(ctx context.Context, c *caller, in *deployInput) (*deployOutput, error) {
		drafts := make([]ScriptDraft, len(in.Body.Scripts))
		for i, s := range in.Body.Scripts {
			drafts[i] = s.draft(s.Name)
			drafts[i].Routes = routeDrafts(s.Routes)
		}
		deployed, err := m.Deploy(ctx, c.app.ID, drafts, c.principal.Name)
		if err != nil {
			return nil, err
		}
		domains, err := m.appDomains(ctx, c.app)
		if err != nil {
			return nil, err
		}
		out := &deployOutput{}
		for _, d := range deployed {
			out.Body.Scripts = append(out.Body.Scripts, newDeployedJSON(c, domains, d))
		}
		return out, nil
	})
}

func newDeployedJSON(c *caller, domains []cloud.Domain, d Deployed) deployedJSON {
	out := deployedJSON{Script: newScriptJSON(d.Script), Routes: []routeJSON{}, URLs: []string{}}
	for _, r := range d.Routes {
		out.Routes = append(out.Routes, newRouteJSON(c, domains, r, d.Script.Name))
	}
	byKind := slices.SortedStableFunc(slices.Values(d.Routes), func(a, b cloud.Route) int { return cmp.Compare(pathKind(a), pathKind(b)) })
	for _, r := range byKind {
		out.URLs = append(out.URLs, c.origin.route(c.app, domains, r))
	}
	out.URLs = slices.Compact(out.URLs)
	return out
}

func pathKind(r cloud.Route) cloud.PathKind {
	p, _ := cloud.ParsePathPattern(r.Path) // a stored path is valid
	return p.Kind
}
