package caddycloud

import (
	"fmt"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/orchestrator"
)

// snapshot is the catalog's file in dir, for the database that c leads to and
// for this build alone: another may know more of an app.
func snapshot(dir string, c *pgx.ConnConfig) orchestrator.Snapshot {
	if dir == "" {
		return orchestrator.Snapshot{}
	}
	return orchestrator.Snapshot{
		Path: filepath.Join(dir, "apps.snapshot"),
		Of:   fmt.Sprintf("PiCloud %s %s, database %s at %s:%d as %s", Version, Commit, c.Database, c.Host, c.Port, c.User),
	}
}
