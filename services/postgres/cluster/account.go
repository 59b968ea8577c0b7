package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// account is who the server's processes run as. The zero value is the user who
// runs this process.
type account struct {
	credential *syscall.Credential
	caps       []uintptr
}

// serverAccount is the user postgres when root runs this process, since
// PostgreSQL refuses to run as root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return account{}, errors.New("PostgreSQL does not run as root, and there is no user postgres to run it as: add one (useradd --system postgres), or run PiCloud as another user")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user postgres: id %q", u.Uid)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user postgres: group id %q", u.Gid)
	}
	return account{credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// own gives path to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// reaching returns a with what it takes to reach dir, which may lie below a
// directory that is closed to the account, such as /root. A process that may
// pass through every directory still cannot write where it does not own.
func (a account) reaching(dir string) (account, error) {
	if a.credential == nil {
		return a, nil
	}
	try := func(a account) error { return a.command("/bin/sh", "-c", `cd "$1"`, "sh", dir).Run() }
	err := try(a)
	if err == nil {
		return a, nil
	}
	for _, c := range []uintptr{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE} {
		capable := account{credential: a.credential, caps: []uintptr{c}}
		if try(capable) == nil {
			return capable, nil
		}
	}
	return account{}, fmt.Errorf("the user postgres cannot enter %s: choose a directory that it can reach: %w", dir, err)
}

// command runs a program as the account, apart from the terminal's signals and
// from this process's working directory, locale and PG settings.
func (a account) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/" // where the account may be, before its capabilities work
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.credential, AmbientCaps: a.caps}
	return cmd
}
