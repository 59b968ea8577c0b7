package manager

import "time"

// SetHeartbeat is for tests of streams over HTTP.
func (m *Manager) SetHeartbeat(d time.Duration) { m.heartbeat = d }
