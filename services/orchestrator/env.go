package orchestrator

import (
	"errors"

	"github.com/picloud/picloud/services/cloud"
)

var errNoSealer = errors.New("there is no master key")

// openEnv is the env of an app; nil if it has no values. Its error is a
// CodeUnavailable one that names a secret which does not open.
func openEnv(state cloud.AppState, sealer cloud.Sealer) (*cloud.Env, error) {
	if len(state.Env) == 0 {
		return nil, nil
	}
	variables, secrets := map[string]string{}, map[string]string{}
	for _, v := range state.Env {
		if v.Secret == nil {
			variables[v.Name] = v.Value
			continue
		}
		value, err := openSecret(state.App, v, sealer)
		if err != nil {
			return nil, err
		}
		secrets[v.Name] = value
	}
	return cloud.NewEnv(variables, secrets), nil
}

// openSecret is a secret's value, or an error that says how it can be had again.
func openSecret(app cloud.App, v cloud.EnvValue, sealer cloud.Sealer) (string, error) {
	err := errNoSealer
	if sealer != nil {
		var value []byte
		if value, err = sealer.Open(cloud.SecretPurpose(app.ID, v.Name), *v.Secret); err == nil {
			return string(value), nil
		}
		if cloud.CodeOf(err) != cloud.CodeUnavailable {
			return "", cloud.Errorf(cloud.CodeUnavailable,
				"the secret %s of the app %q does not open with the master key %s: the stored value is damaged; set the secret anew, or restore the database",
				v.Name, app.Slug, v.Secret.KeyID).Because(err)
		}
	}
	return "", cloud.Errorf(cloud.CodeUnavailable,
		"the secret %s of the app %q is sealed with the master key %s, which is not here: restore the key's file or credential and start PiCloud again; nothing was overwritten",
		v.Name, app.Slug, v.Secret.KeyID).Because(err)
}
