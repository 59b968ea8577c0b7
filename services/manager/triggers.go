package manager

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/picloud/picloud/services/cloud"
)

// TriggerDraft is a trigger as it is asked for.
type TriggerDraft struct {
	Script   string // name of an endpoint
	Kind     cloud.EventKind
	Filter   cloud.TriggerFilter
	Retry    cloud.RetryPolicy // zero fields: those of cloud.DefaultRetry
	Disabled bool
}

// TriggerChange is what UpdateTrigger changes; nil leaves a field as it is.
type TriggerChange struct {
	Script     *string
	Enabled    *bool
	Collection *string
	Key        *string
	Ops        *[]string
	Schedule   *string
	TimeZone   *string
	Retry      cloud.RetryPolicy // zero fields stay as they are
}

// Triggers returns the app's triggers, the oldest first.
func (m *Manager) Triggers(ctx context.Context, appID string) ([]cloud.Trigger, error) {
	return m.store.Triggers(ctx, appID)
}

// Trigger returns one trigger. CodeNotFound.
func (m *Manager) Trigger(ctx context.Context, appID, id string) (cloud.Trigger, error) {
	if !cloud.IsID(id) {
		return cloud.Trigger{}, noTrigger(id)
	}
	return m.store.Trigger(ctx, appID, id)
}

func noTrigger(id string) error {
	return cloud.Errorf(cloud.CodeNotFound, "the app has no trigger %q", id)
}

// AddTrigger connects events to an endpoint script, which will run as p: with
// the roles that p's user has then, and no more than the scopes of p's key.
// CodeInvalid about "script", "kind", a field of the filter, or "retry.…";
// CodeLimit.
func (m *Manager) AddTrigger(ctx context.Context, appID string, p *cloud.Principal, d TriggerDraft) (cloud.Trigger, error) {
	var added cloud.Trigger
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		script, err := endpointForTrigger(ctx, tx, d.Script)
		if err != nil {
			return err
		}
		triggers, err := tx.Triggers(ctx)
		if err != nil {
			return err
		}
		t, err := m.checkTrigger(registeredBy(p, cloud.Trigger{
			AppID: appID, ScriptID: script.ID, Script: script.Name, Kind: d.Kind, Filter: d.Filter, Retry: d.Retry, Enabled: !d.Disabled,
		}), m.now())
		if err != nil {
			return err
		}
		if len(triggers) >= m.quotas.Triggers {
			return cloud.Errorf(cloud.CodeLimit, "the app has %d triggers, the most it may have", len(triggers))
		}
		about(ctx, thing("triggers", triggerName(t))+
			fact("collection", t.Filter.Collection)+fact("key", t.Filter.Key)+fact("ops", joined(t.Filter.Ops))+
			fact("schedule", t.Filter.Schedule)+fact("time_zone", t.Filter.TimeZone))
		if d.Disabled {
			note(ctx, setTo("enabled", new(false)))
		}
		added, err = tx.AddTrigger(ctx, t)
		return err
	})
	return added, err
}

// UpdateTrigger changes a trigger, which is p's from then on, whatever it was
// that changed: nobody can make another's trigger do something new in the
// other's name. CodeNotFound; else the errors of AddTrigger.
func (m *Manager) UpdateTrigger(ctx context.Context, appID, id string, p *cloud.Principal, c TriggerChange) (cloud.Trigger, error) {
	if !cloud.IsID(id) {
		return cloud.Trigger{}, noTrigger(id)
	}
	var changed cloud.Trigger
	err := m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		old, err := tx.Trigger(ctx, id)
		if err != nil {
			return err
		}
		rename(ctx, id, triggerName(old))
		note(ctx, c.facts()...)
		t := registeredBy(p, c.of(old))
		if c.Script != nil {
			script, err := endpointForTrigger(ctx, tx, *c.Script)
			if err != nil {
				return err
			}
			t.ScriptID, t.Script = script.ID, script.Name
		}
		if t, err = m.checkTrigger(t, m.now()); err != nil {
			return err
		}
		if t.Filter.Schedule == old.Filter.Schedule && t.Filter.TimeZone == old.Filter.TimeZone && old.Enabled {
			t.NextAt = old.NextAt // a run that is due stays so, and an interval goes on
		}
		changed, err = tx.UpdateTrigger(ctx, t)
		return err
	})
	return changed, err
}

// DeleteTrigger removes a trigger. What it has caused already is delivered
// nevertheless. CodeNotFound.
func (m *Manager) DeleteTrigger(ctx context.Context, appID, id string) error {
	if !cloud.IsID(id) {
		return noTrigger(id)
	}
	return m.change(ctx, appID, func(ctx context.Context, tx AppTx) error {
		t, err := tx.Trigger(ctx, id)
		if err != nil {
			return err
		}
		rename(ctx, id, triggerName(t))
		return tx.DeleteTrigger(ctx, id)
	})
}

// FireTrigger sends a test event to a trigger, enabled or not, and returns the
// event's id. It runs as whoever registered the trigger. CodeNotFound; the errors
// of Events.Fire.
func (m *Manager) FireTrigger(ctx context.Context, appID, id string, payload json.RawMessage) (eventID string, err error) {
	t, err := m.Trigger(ctx, appID, id)
	if err != nil {
		return "", err
	}
	return m.events.Fire(ctx, t, payload)
}

// registeredBy is t as a trigger of p.
func registeredBy(p *cloud.Principal, t cloud.Trigger) cloud.Trigger {
	t.UserID, t.UserName, t.Scopes = p.UserID, p.Name, nil
	if p.Key != nil {
		t.Scopes = append([]cloud.Scope{}, p.Key.Scopes...) // nil would be all
	}
	return t
}

// triggerName is what the audit log calls a trigger.
func triggerName(t cloud.Trigger) string { return string(t.Kind) + " " + t.Script }

// endpointForTrigger finds the script that a trigger is to run.
func endpointForTrigger(ctx context.Context, tx AppTx, name string) (cloud.Script, error) {
	scripts, err := tx.Scripts(ctx)
	if err != nil {
		return cloud.Script{}, err
	}
	i := slices.IndexFunc(scripts, func(s cloud.Script) bool { return s.Name == name })
	switch {
	case i < 0:
		return cloud.Script{}, cloud.Invalid("script", "the app has no script %q", name)
	case scripts[i].Kind != cloud.Endpoint:
		return cloud.Script{}, cloud.Invalid("script", "%q is a module, which others import; only an endpoint can have triggers", name)
	}
	return scripts[i], nil
}

// of is t with what c changes, the script aside.
func (c TriggerChange) of(t cloud.Trigger) cloud.Trigger {
	set(&t.Enabled, c.Enabled)
	set(&t.Filter.Collection, c.Collection)
	set(&t.Filter.Key, c.Key)
	set(&t.Filter.Ops, c.Ops)
	set(&t.Filter.Schedule, c.Schedule)
	set(&t.Filter.TimeZone, c.TimeZone)
	t.Retry = cloud.RetryPolicy{
		Attempts: cmp.Or(c.Retry.Attempts, t.Retry.Attempts),
		Backoff:  cmp.Or(c.Retry.Backoff, t.Retry.Backoff),
		Base:     cmp.Or(c.Retry.Base, t.Retry.Base),
		Cap:      cmp.Or(c.Retry.Cap, t.Retry.Cap),
	}
	return t
}

// facts are what the audit log says of the change.
func (c TriggerChange) facts() []string {
	facts := []string{
		setTo("script", c.Script), setTo("enabled", c.Enabled), setTo("collection", c.Collection), setTo("key", c.Key),
		setTo("schedule", c.Schedule), setTo("time_zone", c.TimeZone),
		fact("attempts", c.Retry.Attempts), fact("backoff", c.Retry.Backoff), fact("base", c.Retry.Base), fact("cap", c.Retry.Cap),
	}
	if c.Ops != nil {
		facts = append(facts, setTo("ops", new(joined(*c.Ops))))
	}
	return facts
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
