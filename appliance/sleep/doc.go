// Package sleep lets a board rest: it decides when nothing needs the process any
// more, leaves word when it must run again, has systemd see to that, and keeps
// account of what being awake took.
package sleep
