package manager

import (
	"context"

	"github.com/picloud/picloud/services/cloud"
)

// Device tells what the machine takes that the instance runs on.
type Device interface {
	// Energy is what the last days took, at most so many, today among them.
	// CodeNotFound where nobody keeps account: ErrNoDevice.
	Energy(ctx context.Context, days int) (cloud.Energy, error)
}

// ErrNoDevice is a CodeNotFound error: the instance runs on no appliance.
var ErrNoDevice error = cloud.Errorf(cloud.CodeNotFound, "this instance runs on no PiCloud appliance, so nobody keeps account of what the device takes")

type noDevice struct{}

func (noDevice) Energy(context.Context, int) (cloud.Energy, error) {
	return cloud.Energy{}, ErrNoDevice
}
