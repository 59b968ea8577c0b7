package manager

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// noVariables keeps nothing.
type noVariables struct{}

var errNoVariables = cloud.Errorf(cloud.CodeUnavailable, "this server keeps no variables")

func (noVariables) SetVariable(context.Context, cloud.Call, string, string) error {
	return errNoVariables
}

func (noVariables) DeleteVariable(context.Context, cloud.Call, string) (bool, error) {
	return false, errNoVariables
}

func (noVariables) ListVariables(context.Context, cloud.Call) ([]cloud.EnvEntry, error) {
	return nil, errNoVariables
}
