package cloud

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// ticksPerMilli is the resolution of ids: 12 bits below the millisecond.
const ticksPerMilli = 1 << 12

// lastTick is the time of the newest id.
var lastTick atomic.Int64

// NewID returns a fresh UUIDv7 in its text form, with the time to 1/4096 ms in
// it (RFC 9562, sections 5.7 and 6.2, method 3). The ids of one process sort in
// the order of their making, also while the clock is set back.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[8:]) // crypto/rand.Read never fails
	for {
		last := lastTick.Load()
		next := max(ticks(time.Now()), last+1)
		if lastTick.CompareAndSwap(last, next) {
			return format(next, b)
		}
	}
}

// FirstID returns an id that sorts before all that are made from t on, and after
// all that were made before.
func FirstID(t time.Time) string { return format(ticks(t), [16]byte{}) }

func ticks(t time.Time) int64 {
	return t.UnixMilli()*ticksPerMilli + int64(t.Nanosecond()%1e6)*ticksPerMilli/1e6
}

// format writes the time, version and variant into b's bits.
func format(tick int64, b [16]byte) string {
	binary.BigEndian.PutUint64(b[:8], uint64(tick)/ticksPerMilli<<16|0x7000|uint64(tick)%ticksPerMilli)
	b[8] = b[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// IsID tells whether s has the text form of a UUID.
func IsID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}
