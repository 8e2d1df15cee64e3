// Checks a folder that holds a transparency log, with nothing of cellwave's: only Go's own sumdb packages.
//
// usage: tlogcheck FOLDER VERIFIER-KEY [OLD-CHECKPOINT]
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// tiles reads the tiles that a log serves; C2SP's paths leave out the height.
type tiles struct{ folder string }

func (t tiles) Height() int                     { return height }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
		content, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, content)
	}
	return found, nil
}

func open(file string, key string) (tlog.Tree, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(content, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.SplitN(opened.Text, "\n", 2)
	if len(lines) < 2 {
		return tlog.Tree{}, errors.New("no checkpoint")
	}
	// tlog's own trees have another first line than an origin.
	return tlog.ParseTree([]byte("go.sum database tree\n" + lines[1]))
}

func check(folder, key, old string) error {
	tree, err := open(filepath.Join(folder, "checkpoint"), key)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles{folder})
	for at := int64(0); at < tree.N; at++ {
		hash, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(tree.N, at, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, at, hash[0]); err != nil {
			return err
		}
	}
	if old != "" {
		before, err := open(old, key)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, before.N, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			return err
		}
	}
	fmt.Println(tree.N)
	return nil
}

func main() {
	old := ""
	if len(os.Args) > 3 {
		old = os.Args[3]
	}
	if err := check(os.Args[1], os.Args[2], old); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
