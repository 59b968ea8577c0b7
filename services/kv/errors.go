package kv

import "github.com/picloud/picloud/services/cloud"

// Conflict is the error of a Set whose ifVersion does not hold.
func Conflict(key string, ifVersion int64) error {
	if ifVersion == 0 {
		return cloud.Errorf(cloud.CodeConflict, "the key %q exists already", key)
	}
	return cloud.Errorf(cloud.CodeConflict, "the key %q does not have version %d any more; read it again", key, ifVersion)
}

// NoNumber is the error of an Increment of what is no number.
func NoNumber(key string) error {
	return cloud.Invalid("key", "the value of %q is not a number", key)
}

// NotFinite is the error of an Increment beyond the range of numbers.
func NotFinite(key string) error {
	return cloud.Invalid("by", "the sum for %q would not be a finite number", key)
}
