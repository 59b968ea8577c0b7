package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestParseEnvFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, text string
		want       []envEntry
	}{
		{"lines NAME=VALUE", "A=1\nB_2 = two words \r\n", []envEntry{{Name: "A", Value: "1"}, {Name: "B_2", Value: "two words"}}},
		{"empty lines and comments do not count", "\n  \n# A=1\n", nil},
		{"export is allowed", "export A=1", []envEntry{{Name: "A", Value: "1"}}},
		{"an equals sign belongs to the value", "A=b=c==", []envEntry{{Name: "A", Value: "b=c=="}}},
		{"a comment behind a blank is none of the value", "A=1 # one\nB=a#b\nC='x' # y\nD= # nothing", []envEntry{{Name: "A", Value: "1"}, {Name: "B", Value: "a#b"}, {Name: "C", Value: "x"}, {Name: "D"}}},
		{"single quotes keep all as it is", `A='a\n"$B" #'`, []envEntry{{Name: "A", Value: `a\n"$B" #`}}},
		{"double quotes have escapes", `A="a\nb\t\"\\\$'#"`, []envEntry{{Name: "A", Value: "a\nb\t\"\\$'#"}}},
		{"nothing is expanded", `A=$HOME/${B}`, []envEntry{{Name: "A", Value: "$HOME/${B}"}}},
		{"an empty value is one", "A=\nB=''", []envEntry{{Name: "A"}, {Name: "B"}}},
		{"a byte order mark does not count", "\ufeffA=1", []envEntry{{Name: "A", Value: "1"}}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			if got, err := parseEnvFile(test.text); err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
	for text, want := range map[string]string{
		"A=1\nhunter2":    "2: this line is not NAME=VALUE",
		"2A=hunter2":      `1: the name "2A": use letters`,
		"=hunter2":        "1: the name is empty",
		`A="hunter2`:      "1: the value of A does not end with its quote",
		`A='hunter2`:      "1: the value of A does not end with its quote",
		`A="hunter2\"`:    "1: the value of A does not end with its quote",
		`A="hunter2\`:     "1: the value of A does not end with its quote",
		`A="\q hunter2"`:  `1: the value of A has the unknown escape \q`,
		`A="a" hunter2`:   "1: the value of A goes on behind its quote",
		"\n\n\nA='a''b'#": "4: the value of A goes on behind its quote",
	} {
		got, err := parseEnvFile(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("parseEnvFile(%q) = %+v, %v, want %s", text, got, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("parseEnvFile(%q) tells the value: %v", text, err)
		}
	}
}

func FuzzParseEnvFile(f *testing.F) {
	f.Add("export A=\"a\\nb\" # c\nB='x'")
	f.Add("A=\"\\")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseEnvFile(text)
		if err != nil {
			return
		}
		for _, e := range entries {
			if cloud.CheckEnvName(e.Name) != nil || len(e.Value) > len(text) {
				t.Errorf("%q has the entry %+v", text, e)
			}
		}
	})
}
