package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/services/cloud"
)

const selectEnv = `
	SELECT app_id, name, coalesce(value, ''), key_id, sealed FROM app_env
	WHERE ($1::uuid IS NULL OR app_id = $1) ORDER BY app_id, name`

// envValue is a value of an app.
type envValue struct {
	appID string
	cloud.EnvValue
}

func scanEnvValue(row pgx.CollectableRow) (v envValue, err error) {
	var (
		key *string
		box []byte
	)
	err = row.Scan(&v.appID, &v.Name, &v.Value, &key, &box)
	if key != nil {
		v.Secret = &cloud.Sealed{KeyID: *key, Box: box}
	}
	return v, err
}
