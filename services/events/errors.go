package events

import "github.com/picloud/picloud/services/cloud"

// NoDeadLetter is the error about a dead letter that does not exist in the app.
func NoDeadLetter(id string) error {
	return cloud.Errorf(cloud.CodeNotFound, "there is no dead letter %s", id)
}

// AlreadyResolved is the error about a dead letter that was settled before.
func AlreadyResolved(id string, r cloud.Resolution) error {
	return cloud.Errorf(cloud.CodeConflict, "the dead letter %s was settled before: %s", id, r)
}

// NoEvent is the error about an event that nothing is known of.
func NoEvent(id string) error {
	return cloud.Errorf(cloud.CodeNotFound, "there is no event %s, or it is too long ago", id)
}

// Full is what Enqueue says of an app that has too much in the outbox.
func Full() error {
	return cloud.Errorf(cloud.CodeBusy, "%d events of the app wait already, the most that async routes add to; try again later", cloud.MaxWaiting)
}
