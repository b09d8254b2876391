module unified-rbac/stack/pause

go 1.26.0
