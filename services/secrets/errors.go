package secrets

import "github.com/picloud/picloud/services/cloud"

// Taken is the error of storing a secret under the name of a variable, or the
// other way round. holder is what has the name: "secret" or "variable".
func Taken(name, holder string) error {
	e := cloud.Errorf(cloud.CodeConflict, "the app has a %s named %s; delete it first, or choose another name", holder, name)
	e.Field = "name"
	return e
}

// TooMany is the error of a name beyond cloud.MaxEnvNames.
func TooMany() error {
	return cloud.Errorf(cloud.CodeLimit, "the app has %d variables and secrets, and no more are allowed", cloud.MaxEnvNames)
}

// TooLarge is the error of values beyond cloud.MaxEnvValues.
func TooLarge() error {
	return cloud.Errorf(cloud.CodeLimit, "the values of the app's variables and secrets would be larger than %d KiB together", cloud.MaxEnvValues>>10)
}
