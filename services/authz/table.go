package authz

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// what says in words what a capability is for.
var what = map[cloud.Capability]string{
	cloud.AppReadScript:        "see scripts, versions, routes, triggers, domains, members and variables; preview routes",
	cloud.AppKvRead:            "read kv",
	cloud.AppSecretsRead:       "see the names of secrets; in a script, their values",
	cloud.AppReadLogs:          "read executions and their logs; see what a script threw",
	cloud.AppWriteScript:       "save, roll back and delete scripts; set variables",
	cloud.AppWriteRoute:        "add and delete routes",
	cloud.AppInvoke:            "run a script by its id",
	cloud.AppKvWrite:           "write kv",
	cloud.AppSecretsWrite:      "set and delete secrets",
	cloud.AppManageDomains:     "add and delete domain claims",
	cloud.AppManageMembers:     "add, change and remove members",
	cloud.AppManageTriggers:    "add, change, delete and fire triggers",
	cloud.AppManageDeadLetters: "see, replay and resolve dead letters",
	cloud.AppAdmin:             "rename and delete the app",
	cloud.InstanceCreateApp:    "create apps",
	cloud.InstanceManageUsers:  "manage users, their keys and sessions; read the audit log",
	cloud.InstanceManageDevice: "see what the device takes",
	cloud.InstanceAdmin:        "change what runs in the app `default`, beside what that takes in any app; read metrics",
}

// holders are the kinds of callers that the table tells apart, weakest first.
// The first is anonymous.
var holders = []struct {
	name   string
	role   cloud.InstanceRole
	listed cloud.AppRole
}{
	{name: "anonymous"},
	{"member", cloud.Member, ""},
	{"viewer", cloud.Member, cloud.Viewer},
	{"editor", cloud.Member, cloud.Editor},
	{"app_admin", cloud.Member, cloud.AppAdminRole},
	{"admin", cloud.Admin, ""},
	{"owner", cloud.Owner, ""},
}

const here, elsewhere = "here", "elsewhere"

// WriteTable writes, as Markdown, what Decide answers: what each role gives, what
// each scope lets an API key do, and what the key's app binding takes away. Every
// cell is asked of Decide.
func WriteTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString("## What a role gives\n\n")
	b.WriteString("The caller comes with a session, or with a key that has all scopes and is bound to no app.\n\n")
	b.WriteString("| Capability | lets |")
	for _, h := range holders {
		b.WriteString(" " + h.name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat(":-:|", len(holders)) + "\n")
	for _, c := range cloud.Capabilities {
		fmt.Fprintf(&b, "| %s | %s |", c, what[c])
		for i := range holders {
			fmt.Fprintf(&b, " %s |", cell(Decide(holder(i, nil), c, here)))
		}
		b.WriteByte('\n')
	}

	b.WriteString("\n## What a key's scopes let through\n\n")
	b.WriteString("A key does what its user's roles give *and* one of its scopes names. A key without scopes does nothing.\n\n")
	b.WriteString("| Scope | lets through |\n|---|---|\n")
	for _, s := range cloud.Scopes {
		var through []string
		for _, c := range cloud.Capabilities {
			if Decide(owner(cloud.Key{Scopes: []cloud.Scope{s}}), c, here) == nil {
				through = append(through, string(c))
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", s, strings.Join(through, ", "))
	}

	b.WriteString("\n## What a key's app leaves\n\n")
	b.WriteString("A key may be bound to one app. This is what is left to the key of an owner, with all scopes.\n\n")
	b.WriteString("| Capabilities | bound to no app | bound to this app | bound to another |\n|---|:-:|:-:|:-:|\n")
	for _, group := range []struct {
		name string
		of   []cloud.Capability
	}{
		{"App…", slices.DeleteFunc(slices.Clone(cloud.Capabilities), ofInstance)},
		{"Instance…", slices.DeleteFunc(slices.Clone(cloud.Capabilities), func(c cloud.Capability) bool { return !ofInstance(c) })},
	} {
		fmt.Fprintf(&b, "| %s |", group.name)
		for _, bound := range []string{"", here, elsewhere} {
			var cells []string
			for _, c := range group.of {
				cells = append(cells, cell(Decide(owner(cloud.Key{Scopes: cloud.Scopes, AppID: bound}), c, here)))
			}
			fmt.Fprintf(&b, " %s |", strings.Join(slices.Compact(cells), " or "))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// holder is the principal of a line of holders, with a key or none.
func holder(i int, key *cloud.Key) *cloud.Principal {
	if i == 0 {
		return nil
	}
	return &cloud.Principal{Role: holders[i].role, Apps: map[string]cloud.AppRole{here: holders[i].listed}, Key: key}
}

func owner(key cloud.Key) *cloud.Principal { return holder(len(holders)-1, &key) }

func ofInstance(c cloud.Capability) bool { return rules[c].instance != "" }

func cell(err error) string {
	switch cloud.CodeOf(err) {
	case "":
		return "yes"
	case cloud.CodeNotFound:
		return "404"
	default:
		return "–"
	}
}
