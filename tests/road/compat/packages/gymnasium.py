# mypy: ignore-errors
"""Calls into Gymnasium: ids in a registry, entry points that are strings."""

import copy
import pickle

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import registry
from gymnasium.wrappers import TimeLimit


class Count(gym.Env):
    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.at, {}

    def step(self, action):
        self.at += int(action)
        return self.at, 1.0, self.at > 3, False, {}


def run():
    for name in ("CartPole-v1", "MountainCar-v0", "FrozenLake-v1"):
        env = gym.make(name)
        first, _ = env.reset(seed=3)
        env.action_space.seed(4)
        steps = [env.step(env.action_space.sample())[:3] for _ in range(5)]
        yield name, type(env.unwrapped).__name__, repr((first, steps)), isinstance(env, gym.Wrapper)
    yield (
        len([n for n in registry if n.startswith("CartPole")]),
        registry["FrozenLake-v1"].entry_point,
    )
    for count, point in enumerate([Count, "compat_exercise:Count"]):
        if f"Count{count}-v0" not in registry:
            gym.register(id=f"Count{count}-v0", entry_point=point, max_episode_steps=3)
        env = gym.make(f"Count{count}-v0", disable_env_checker=True)
        env.reset(seed=0)
        yield type(env.unwrapped) is Count, [env.step(1)[3] for _ in range(3)]
        yield isinstance(env, TimeLimit)
    try:
        gym.make("CartPol-v1")
    except gym.error.Error as error:
        yield str(error)
    space = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Tuple([spaces.Discrete(3)]))
    again = pickle.loads(pickle.dumps(space))
    space.seed(1)
    yield again == space, repr(space.sample()), spaces.flatdim(space)
    yield copy.deepcopy(space.spaces["a"]).contains(np.zeros(2, np.float32))
    vector = gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2)
    yield repr(vector.reset(seed=5)[0]), repr(vector.step(np.array([0, 1]))[0])
