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

// SetVariable stores a variable of the call's app and makes it seen; see
// cloud.Variables.
func (m *Manager) SetVariable(ctx context.Context, call cloud.Call, name, value string) error {
	if err := m.variables.SetVariable(ctx, call, name, value); err != nil {
		return err
	}
	m.changed(ctx, call.AppID)
	return nil
}

// DeleteVariable removes a variable. CodeNotFound.
func (m *Manager) DeleteVariable(ctx context.Context, call cloud.Call, name string) error {
	present, err := m.variables.DeleteVariable(ctx, call, name)
	if err != nil {
		return err
	}
	if !present {
		return cloud.Errorf(cloud.CodeNotFound, "the app has no variable %q", name)
	}
	m.changed(ctx, call.AppID)
	return nil
}

// SetSecret stores a secret of the call's app and makes it seen; see
// cloud.Secrets.
func (m *Manager) SetSecret(ctx context.Context, call cloud.Call, name, value string) error {
	if err := m.secrets.Set(ctx, call, name, value); err != nil {
		return err
	}
	m.changed(ctx, call.AppID)
	return nil
}

// DeleteSecret removes a secret. CodeNotFound.
func (m *Manager) DeleteSecret(ctx context.Context, call cloud.Call, name string) error {
	present, err := m.secrets.Delete(ctx, call, name)
	if err != nil {
		return err
	}
	if !present {
		return cloud.Errorf(cloud.CodeNotFound, "the app has no secret %q", name)
	}
	m.changed(ctx, call.AppID)
	return nil
}
