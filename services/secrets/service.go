package secrets

import (
	"context"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

// Config is what New needs.
type Config struct {
	Store      Store
	Sealer     cloud.Sealer
	Authorizer cloud.Authorizer
	// Reload is called after each change of an app, before the call returns, so
	// that its next execution sees the change. An error is logged and not
	// answered: the change is durable. Nil: nothing to reload.
	Reload func(ctx context.Context, appID string) error
	Logger *slog.Logger // nil: slog.Default
}

// Service keeps variables and secrets: it decides who may, checks what is asked,
// seals, and leaves the keeping to its Store. It logs no values.
type Service struct {
	store      Store
	sealer     cloud.Sealer
	authorizer cloud.Authorizer
	reload     func(ctx context.Context, appID string) error
	log        *slog.Logger
}

var (
	_ cloud.Secrets   = (*Service)(nil)
	_ cloud.Variables = (*Service)(nil)
)

// New returns a service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Service{store: cfg.Store, sealer: cfg.Sealer, authorizer: cfg.Authorizer, reload: cfg.Reload, log: cfg.Logger}
}

// enter is the gate and the check of the name.
func (s *Service) enter(call cloud.Call, capability cloud.Capability, name string) error {
	if err := call.Gate(s.authorizer, capability); err != nil {
		return err
	}
	return cloud.CheckEnvName(name)
}

// Get implements cloud.Secrets.
func (s *Service) Get(ctx context.Context, call cloud.Call, name string) (string, bool, error) {
	if !call.ByScript {
		return "", false, cloud.Errorf(cloud.CodeForbidden, "the values of secrets are for scripts alone")
	}
	if err := s.enter(call, cloud.AppSecretsRead, name); err != nil {
		return "", false, err
	}
	sealed, ok, err := s.store.Secret(ctx, call.AppID, name)
	if err != nil || !ok {
		return "", false, err
	}
	value, err := s.sealer.Open(cloud.SecretPurpose(call.AppID, name), sealed)
	if err != nil {
		return "", false, err
	}
	return string(value), true, nil
}

// Set implements cloud.Secrets.
func (s *Service) Set(ctx context.Context, call cloud.Call, name, value string) error {
	if err := s.enter(call, cloud.AppSecretsWrite, name); err != nil {
		return err
	}
	if err := checkValue(value); err != nil {
		return err
	}
	purpose := cloud.SecretPurpose(call.AppID, name)
	sealed, err := s.sealer.Seal(purpose, []byte(value))
	if err != nil {
		return err
	}
	for {
		if err := s.store.SetSecret(ctx, call.AppID, name, sealed, len(value)); err != nil {
			return err
		}
		// A rotation that began meanwhile may have gone past before the secret was
		// there, and may throw the key away that it is sealed with.
		again, err := s.sealer.Seal(purpose, []byte(value))
		if err != nil {
			return err
		}
		if again.KeyID == sealed.KeyID {
			break
		}
		sealed = again
	}
	s.changed(ctx, call.AppID)
	return nil
}

// Delete implements cloud.Secrets.
func (s *Service) Delete(ctx context.Context, call cloud.Call, name string) (bool, error) {
	if err := s.enter(call, cloud.AppSecretsWrite, name); err != nil {
		return false, err
	}
	was, err := s.store.DeleteSecret(ctx, call.AppID, name)
	if was {
		s.changed(ctx, call.AppID)
	}
	return was, err
}

// List implements cloud.Secrets.
func (s *Service) List(ctx context.Context, call cloud.Call) ([]cloud.EnvEntry, error) {
	if err := call.Gate(s.authorizer, cloud.AppSecretsRead); err != nil {
		return nil, err
	}
	return s.store.Secrets(ctx, call.AppID)
}

// SetVariable implements cloud.Variables.
func (s *Service) SetVariable(ctx context.Context, call cloud.Call, name, value string) error {
	if err := s.enter(call, cloud.AppWriteScript, name); err != nil {
		return err
	}
	if err := checkValue(value); err != nil {
		return err
	}
	if err := s.store.SetVariable(ctx, call.AppID, name, value); err != nil {
		return err
	}
	s.changed(ctx, call.AppID)
	return nil
}

// DeleteVariable implements cloud.Variables.
func (s *Service) DeleteVariable(ctx context.Context, call cloud.Call, name string) (bool, error) {
	if err := s.enter(call, cloud.AppWriteScript, name); err != nil {
		return false, err
	}
	was, err := s.store.DeleteVariable(ctx, call.AppID, name)
	if was {
		s.changed(ctx, call.AppID)
	}
	return was, err
}

// ListVariables implements cloud.Variables.
func (s *Service) ListVariables(ctx context.Context, call cloud.Call) ([]cloud.EnvEntry, error) {
	if err := call.Gate(s.authorizer, cloud.AppReadScript); err != nil {
		return nil, err
	}
	return s.store.Variables(ctx, call.AppID)
}

// changed makes a change seen that was committed, even if its caller has gone.
func (s *Service) changed(ctx context.Context, appID string) {
	if s.reload == nil {
		return
	}
	if err := s.reload(context.WithoutCancel(ctx), appID); err != nil {
		s.log.ErrorContext(ctx, "cannot reload an app after a change of its env", "app_id", appID, "error", err)
	}
}

func checkValue(value string) error {
	switch {
	case len(value) > cloud.MaxSecret:
		return cloud.Errorf(cloud.CodeLimit, "the value has %d bytes; at most %d are allowed", len(value), cloud.MaxSecret)
	case !utf8.ValidString(value):
		return cloud.Invalid("value", "is not valid UTF-8")
	case strings.IndexByte(value, 0) >= 0:
		return cloud.Invalid("value", "holds the character U+0000, which cannot be kept")
	}
	return nil
}
