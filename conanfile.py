# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import load
from conan.tools.scm import Version

# Each component: those it is built on, and what it needs from outside. Its option is with_<name>, its library
# busbar_<name>, its target busbar::<name>, in CMake as here.
COMPONENTS = {
    "core": ([], ["boost::headers"]),
    "asio": (["core"], ["boost::headers"]),
    "routing": (["core"], []),
    "persistence": (["core", "routing"], ["isa-l::isa-l", "lz4::lz4", "xxhash::xxhash"]),
    "metrics": (["core", "routing", "persistence"], ["prometheus-cpp::prometheus-cpp-core"]),
    "config": (["core", "routing", "persistence"], ["tomlplusplus::tomlplusplus"]),
}
HEADER_ONLY = ["asio"]


class Busbar(ConanFile):
    name = "busbar"
    description = "In-process typed publish/subscribe that may lose events, but never silently"
    topics = ("publish-subscribe", "event-bus", "message-queue", "log", "lock-free")
    license = "MIT OR Apache-2.0"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {
        "shared": [True, False],
        "fPIC": [True, False],
        "with_tools": [True, False],
        **{f"with_{name}": [True, False] for name in COMPONENTS if name != "core"},
    }
    default_options = {
        "shared": False,
        "fPIC": True,
        "with_tools": False,
        **{f"with_{name}": True for name in COMPONENTS if name != "core"},
        "boost/*:header_only": True,
    }
    implements = ["auto_shared_fpic"]
    exports_sources = ("CMakeLists.txt", "LICENSE-*", "cmake/*", "include/*", "persistence/*", "routing/*", "src/*",
                       "tools/*")
    test_package_folder = "tests/package"

    def set_version(self):
        text = load(self, os.path.join(self.recipe_folder, "CMakeLists.txt"))
        self.version = re.search(r"project\(busbar VERSION ([0-9.]+)", text).group(1)

    def layout(self):
        cmake_layout(self)

    @property
    def _components(self):
        return [name for name in COMPONENTS if name == "core" or self.options.get_safe(f"with_{name}")]

    def requirements(self):
        self.requires("boost/1.81.0", transitive_headers=True)
        if self.options.with_persistence:
            self.requires("isa-l/2.30.0")
            self.requires("lz4/1.9.4")
            self.requires("xxhash/0.8.1")
        if self.options.with_metrics:
            self.requires("prometheus-cpp/1.0.1", transitive_headers=True)
        if self.options.with_config:
            self.requires("tomlplusplus/3.3.0")
        if self.options.with_tools:
            self.requires("cli11/2.1.2")
            self.requires("ncurses/6.4")
            self.requires("nlohmann_json/3.11.2")

    def validate(self):
        check_min_cppstd(self, 20)
        if self.settings.os != "Linux" or self.settings.arch not in ("x86_64", "armv8"):
            raise ConanInvalidConfiguration("busbar runs on Linux, on x86_64 and armv8")
        oldest = {"gcc": "12", "clang": "19"}.get(str(self.settings.compiler))
        if oldest is None or Version(self.settings.compiler.version) < oldest:
            raise ConanInvalidConfiguration("busbar needs gcc 12 or clang 19, or a later one")
        for name in self._components:
            missing = set(COMPONENTS[name][0]) - set(self._components)
            if missing:
                raise ConanInvalidConfiguration(f"with_{name} needs with_{min(missing)}")
        if self.options.with_tools and len(self._components) != len(COMPONENTS):
            raise ConanInvalidConfiguration("with_tools needs all components")

    def generate(self):
        toolchain = CMakeToolchain(self)
        for name in ("TESTS", "MODELS", "EXAMPLES", "BENCHMARKS"):
            toolchain.cache_variables[f"BUSBAR_{name}"] = False
        for name in ("tools", *(name for name in COMPONENTS if name != "core")):
            toolchain.cache_variables[f"BUSBAR_{name.upper()}"] = bool(self.options.get_safe(f"with_{name}"))
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()

    def package_info(self):
        # The files that CMake installs are used, so that a component is the same thing however it was found.
        self.cpp_info.set_property("cmake_find_mode", "none")
        for name in self._components:
            inside, outside = COMPONENTS[name]
            component = self.cpp_info.components[name]
            component.set_property("cmake_target_name", f"busbar::{name}")
            component.set_property("pkg_config_name", f"busbar-{name}")
            component.libs = [] if name in HEADER_ONLY else [f"busbar_{name}"]
            component.requires = inside + outside
            if name == "core":
                component.system_libs = ["pthread"]
                component.builddirs = [os.path.join("lib", "cmake", "busbar")]
        if self.options.with_tools:
            self.cpp_info.components["_tools"].requires = [*self._components, "cli11::cli11", "ncurses::ncurses",
                                                           "nlohmann_json::nlohmann_json"]
