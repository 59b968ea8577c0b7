package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

const scriptColumns = `id, app_id, name, kind, language, version, limits, imports, created_at, updated_at`

// scanScript reads scriptColumns and the source. Imports are read by appTx alone.
func scanScript(row pgx.CollectableRow) (cloud.Script, error) {
	s, err := scanScriptInChange(row)
	s.Imports = nil
	return s, err
}

func scanScriptInChange(row pgx.CollectableRow) (s cloud.Script, err error) {
	var limits []byte
	err = row.Scan(&s.ID, &s.AppID, &s.Name, &s.Kind, &s.Language, &s.Version, &limits, &s.Imports, &s.CreatedAt, &s.UpdatedAt, &s.Source)
	if err != nil {
		return s, err
	}
	if len(s.Imports) == 0 {
		s.Imports = nil
	}
	s.CreatedAt, s.UpdatedAt = s.CreatedAt.UTC(), s.UpdatedAt.UTC()
	s.Limits, err = decodeLimits(limits)
	return s, err
}

func scripts(ctx context.Context, q querier, appID string, inChange bool) ([]cloud.Script, error) {
	if !cloud.IsID(appID) {
		return nil, nil
	}
	source, scan := `''`, scanScript
	if inChange {
		source, scan = `source`, scanScriptInChange
	}
	return selectAll(ctx, q, scan, `
		SELECT `+scriptColumns+`, `+source+` FROM scripts WHERE app_id = $1 ORDER BY name COLLATE "C"`, appID)
}

func scanVersion(row pgx.CollectableRow) (v cloud.ScriptVersion, err error) {
	err = row.Scan(&v.Version, &v.Kind, &v.Language, &v.Source, &v.CreatedAt, &v.CreatedBy)
	v.CreatedAt = v.CreatedAt.UTC()
	return v, err
}

func scriptVersion(ctx context.Context, q querier, appID, scriptID string, version int) (cloud.ScriptVersion, error) {
	missing := cloud.Errorf(cloud.CodeNotFound, "version %d of the script is not kept (the last %d are)", version, cloud.KeptVersions)
	if !cloud.IsID(appID) || !cloud.IsID(scriptID) || int(int32(version)) != version {
		return cloud.ScriptVersion{}, missing
	}
	return selectOne(ctx, q, scanVersion, missing, `
		SELECT version, kind, language, source, created_at, created_by
		FROM script_versions WHERE app_id = $1 AND script_id = $2 AND version = $3`, appID, scriptID, version)
}

// limits is how a script's limits are stored: as asked for, zero fields absent.
type limits struct {
	WallMS       int64 `json:"wall_ms,omitempty"`
	CPUMS        int64 `json:"cpu_ms,omitempty"`
	Memory       int64 `json:"memory_bytes,omitempty"`
	RequestBody  int64 `json:"request_body_bytes,omitempty"`
	ResponseBody int64 `json:"response_body_bytes,omitempty"`
	HostCalls    int   `json:"host_calls,omitempty"`
	Fetches      int   `json:"fetches,omitempty"`
	Log          int   `json:"log_bytes,omitempty"`
}

func encodeLimits(l cloud.Limits) ([]byte, error) {
	return json.Marshal(limits{
		WallMS: l.Wall.Milliseconds(), CPUMS: l.CPU.Milliseconds(), Memory: l.Memory,
		RequestBody: l.RequestBody, ResponseBody: l.ResponseBody,
		HostCalls: l.HostCalls, Fetches: l.Fetches, Log: l.Log,
	})
}

func decodeLimits(text []byte) (cloud.Limits, error) {
	var l limits
	err := json.Unmarshal(text, &l)
	return cloud.Limits{
		Wall: time.Duration(l.WallMS) * time.Millisecond, CPU: time.Duration(l.CPUMS) * time.Millisecond, Memory: l.Memory,
		RequestBody: l.RequestBody, ResponseBody: l.ResponseBody,
		HostCalls: l.HostCalls, Fetches: l.Fetches, Log: l.Log,
	}, err
}
