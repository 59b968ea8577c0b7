package events

import (
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// jitter is how far a pause may lie from what the policy says, either way.
const jitter = 0.2

// pause is how long to wait after the attempt with this number failed. random is
// in [0, 1).
func pause(p cloud.RetryPolicy, attempt int, random float64) time.Duration {
	d := p.Base
	switch p.Backoff {
	case cloud.Linear:
		d = min(p.Cap, p.Base*time.Duration(attempt))
	case cloud.Exponential:
		for range attempt - 1 {
			if d *= 2; d >= p.Cap {
				break
			}
		}
	}
	return time.Duration(float64(min(d, p.Cap)) * (1 - jitter + 2*jitter*random))
}

// Bounds of a retry policy.
const (
	maxAttempts = 20
	minBase     = 100 * time.Millisecond
	maxCap      = 24 * time.Hour
)

// CheckRetry fills what is missing in a policy from cloud.DefaultRetry and
// refuses what cannot be: CodeInvalid about "retry.attempts", "retry.backoff",
// "retry.base_ms" or "retry.cap_ms".
func CheckRetry(p cloud.RetryPolicy) (cloud.RetryPolicy, error) {
	d := cloud.DefaultRetry
	if p.Attempts == 0 {
		p.Attempts = d.Attempts
	}
	if p.Backoff == "" {
		p.Backoff = d.Backoff
	}
	if p.Cap == 0 {
		p.Cap = max(d.Cap, p.Base)
	}
	if p.Base == 0 {
		p.Base = min(d.Base, p.Cap)
	}
	switch {
	case p.Attempts < 1 || p.Attempts > maxAttempts:
		return p, cloud.Invalid("retry.attempts", "must be 1 to %d", maxAttempts)
	case p.Backoff != cloud.Exponential && p.Backoff != cloud.Linear && p.Backoff != cloud.Constant:
		return p, cloud.Invalid("retry.backoff", "%q is none of exponential, linear and constant", p.Backoff)
	case p.Cap < minBase || p.Cap > maxCap:
		return p, cloud.Invalid("retry.cap_ms", "must be %d to %d", minBase.Milliseconds(), maxCap.Milliseconds())
	case p.Base < minBase || p.Base > p.Cap:
		return p, cloud.Invalid("retry.base_ms", "must be %d to what cap_ms is", minBase.Milliseconds())
	}
	return p, nil
}
