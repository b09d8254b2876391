// Package sqlite3 stands in for github.com/mattn/go-sqlite3 when the local
// stack builds Gitea. The original is C and would make a C compiler one more
// thing to install; Gitea only blank-imports it for its driver name. Here that
// name is served by SQLite translated to Go.
package sqlite3

import (
	"database/sql"
	"database/sql/driver"
	"net/url"
	"strings"

	_ "modernc.org/sqlite"
)

func init() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	sql.Register("sqlite3", translating{db.Driver()})
	_ = db.Close()
}

type translating struct{ driver.Driver }

func (d translating) Open(name string) (driver.Conn, error) {
	return d.Driver.Open(translate(name))
}

// translate rewrites the parameters that the C driver calls by another name.
// The shared cache is dropped: without the unlock-notify extension its table
// locks fail at once instead of waiting for the busy timeout.
func translate(name string) string {
	path, query, found := strings.Cut(name, "?")
	if !found {
		return name
	}
	given, err := url.ParseQuery(query)
	if err != nil {
		return name
	}
	out := url.Values{}
	for key, values := range given {
		for _, value := range values {
			switch key {
			case "cache":
			case "_busy_timeout", "_journal_mode", "_foreign_keys", "_synchronous":
				out.Add("_pragma", strings.TrimPrefix(key, "_")+"("+value+")")
			default:
				out.Add(key, value)
			}
		}
	}
	return path + "?" + out.Encode()
}
