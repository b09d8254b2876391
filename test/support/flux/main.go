// What Flux makes of a repository: the files that source-controller leaves out go, then kustomize-controller's own code
// generates the kustomization of a folder and builds it. One line of JSON for each repository on standard input.
package main

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fluxcd/pkg/kustomize"
	"github.com/fluxcd/pkg/sourceignore"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type answer struct {
	Error   string   `json:"error,omitempty"`
	Objects []string `json:"objects"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		root, folder, _ := strings.Cut(lines.Text(), "\t")
		objects, err := build(root, filepath.Join(root, folder))
		said := answer{Objects: objects}
		if err != nil {
			said.Error = err.Error()
		}
		_ = out.Encode(said)
	}
}

func build(root, folder string) ([]string, error) {
	objects := []string{}
	if err := prune(root); err != nil {
		return objects, err
	}
	if _, err := kustomize.NewGenerator(root, unstructured.Unstructured{Object: map[string]any{}}).WriteFile(folder); err != nil {
		return objects, err
	}
	all, err := kustomize.SecureBuild(root, folder, false)
	if err != nil {
		return objects, err
	}
	for _, each := range all.Resources() {
		objects = append(objects, each.GetKind()+" "+each.GetName())
	}
	return objects, nil
}

// prune removes what source-controller does not put into its artifact: ignored files, and all that is no file.
func prune(root string) error {
	domain := strings.Split(root, string(filepath.Separator))
	patterns, err := sourceignore.LoadIgnorePatterns(root, domain)
	if err != nil {
		return err
	}
	ignored := sourceignore.NewDefaultMatcher(patterns, domain)
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if entry.IsDir() {
			return nil
		}
		// Each file is asked about by itself; a folder goes when nothing of it is left.
		if !entry.Type().IsRegular() || ignored.Match(strings.Split(path, string(filepath.Separator)), false) {
			return os.Remove(path)
		}
		return nil
	})
}
