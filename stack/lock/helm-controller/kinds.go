// Package kinds names the packages whose definitions are generated, so that go.sum covers what they need.
package kinds

import _ "github.com/fluxcd/helm-controller/api/v2"
