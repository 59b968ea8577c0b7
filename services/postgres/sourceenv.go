package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

// envValue is a variable, or a secret as it is stored.
type envValue struct {
	appID, name string
	value       *string // nil of secrets
	sealed      cloud.Sealed
}

// readEnv fills in the env of one app, or of all for nil. That of an app without
// variables and secrets stays nil.
func (s *Source) readEnv(ctx context.Context, tx pgx.Tx, appID *string, byID map[string]*cloud.AppState) error {
	values, err := selectAll(ctx, tx, scanEnvValue, `
		SELECT app_id, name, value, coalesce(key_id, ''), sealed FROM app_env
		WHERE ($1::uuid IS NULL OR app_id = $1) ORDER BY app_id, name`, appID)
	if err != nil {
		return err
	}
	for len(values) > 0 {
		state := byID[values[0].appID]
		variables, secrets := map[string]string{}, map[string]string{}
		for ; len(values) > 0 && values[0].appID == state.App.ID; values = values[1:] {
			v := values[0]
			if v.value != nil {
				variables[v.name] = *v.value
				continue
			}
			if secrets[v.name], err = s.open(state.App, v); err != nil {
				return err
			}
		}
		state.Env = cloud.NewEnv(variables, secrets)
	}
	return nil
}

func scanEnvValue(row pgx.CollectableRow) (v envValue, err error) {
	err = row.Scan(&v.appID, &v.name, &v.value, &v.sealed.KeyID, &v.sealed.Box)
	return v, err
}

var errNoSealer = errors.New("there is no master key")

// open is a secret's value, or an error that says how it can be had again.
func (s *Source) open(app cloud.App, v envValue) (string, error) {
	err := errNoSealer
	if s.sealer != nil {
		var value []byte
		if value, err = s.sealer.Open(cloud.SecretPurpose(v.appID, v.name), v.sealed); err == nil {
			return string(value), nil
		}
		if cloud.CodeOf(err) != cloud.CodeUnavailable {
			return "", cloud.Errorf(cloud.CodeInternal,
				"the secret %s of the app %q does not open with the master key %s: the stored value is damaged; set the secret anew, or restore the database",
				v.name, app.Slug, v.sealed.KeyID).Because(err)
		}
	}
	return "", cloud.Errorf(cloud.CodeUnavailable,
		"the secret %s of the app %q is sealed with the master key %s, which is not here: restore the key's file or credential and start PiCloud again; nothing was overwritten",
		v.name, app.Slug, v.sealed.KeyID).Because(err)
}
