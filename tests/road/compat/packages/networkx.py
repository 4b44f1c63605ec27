# mypy: ignore-errors
"""Calls into NetworkX: decorators that compile code, lazy imports, backends, a dispatcher."""

import pickle

import networkx as nx
import numpy as np


def run():
    graph = nx.karate_club_graph()
    yield nx.info(graph) if hasattr(nx, "info") else None, sorted(dict(graph.degree()).values())
    yield nx.shortest_path(graph, 0, 33), nx.diameter(graph), nx.is_connected(graph)
    yield [round(v, 9) for v in nx.betweenness_centrality(graph).values()][:5]
    yield [sorted(c) for c in nx.community.greedy_modularity_communities(graph)]
    yield round(float(nx.to_numpy_array(graph).sum()), 6)
    yield nx.laplacian_spectrum.__name__, nx.number_of_nodes(nx.gnp_random_graph(20, 0.2, seed=1))
    yield sorted(nx.gnp_random_graph(8, 0.4, seed=np.random.RandomState(3)).edges)
    directed = nx.DiGraph([(1, 2), (2, 3), (1, 3)])
    yield list(nx.topological_sort(directed)), nx.dag_longest_path(directed)
    yield list(nx.generate_gml(directed))
    again = pickle.loads(pickle.dumps(directed))
    yield type(again) is nx.DiGraph, sorted(again.edges)
    try:
        nx.shortest_path(directed, 3, 1)
    except nx.NetworkXNoPath as error:
        yield str(error)
    try:
        nx.diameter(nx.Graph())
    except Exception as error:
        yield type(error).__name__
    yield sorted(nx.approximation.min_weighted_vertex_cover(nx.path_graph(4)))
    yield str(nx.graph_atlas(100)), nx.is_isomorphic(nx.graph_atlas(7), nx.complete_graph(3))
