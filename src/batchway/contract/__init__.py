"""The manners of /3.0, shared by the API and the audience: routes, problems, paging, links."""
